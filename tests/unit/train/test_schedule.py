"""Learning rates: warm-up that fits, and the schedules' shapes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.stages import Schedule, TrainParams
from asrtune_trainer.train.schedule import LearningRate

params = st.builds(
    lambda rate, schedule, warmup: TrainParams(
        learning_rate=str(rate), schedule=schedule, warmup_steps=warmup
    ),
    st.floats(1e-6, 1).map(lambda value: format(value, ".6f")).filter(lambda text: float(text) > 0),
    st.sampled_from(list(Schedule)),
    st.none() | st.integers(0, 100_000),
)


@given(params, st.integers(1, 5000))
def test_the_peak_is_reached_within_the_first_half(params, total):
    schedule = LearningRate.of(params, total)
    rates = [schedule.at(step) for step in range(total)]
    assert max(rates) == pytest.approx(params.learning_rate)
    assert rates.index(max(rates)) <= total // 2
    assert all(0 < rate <= params.learning_rate * (1 + 1e-9) for rate in rates)


@given(params, st.integers(1, 5000))
def test_it_rises_and_then_never_rises_again(params, total):
    schedule = LearningRate.of(params, total)
    rates = [schedule.at(step) for step in range(total)]
    top = schedule.warmup - 1
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_inverse_square_root_is_funasrs_warmuplr():
    warmup, peak = 50, 1e-3
    schedule = LearningRate(peak, warmup, 1000, Schedule.INVERSE_SQUARE_ROOT)
    for step in range(200):
        number = step + 1
        stock = peak * warmup**0.5 * min(number**-0.5, number * warmup**-1.5)
        assert schedule.at(step) == pytest.approx(stock, rel=1e-12)


def test_a_small_run_is_not_all_warm_up():
    schedule = LearningRate.of(TrainParams(warmup_steps=25_000), 200)
    assert schedule.warmup == 100
