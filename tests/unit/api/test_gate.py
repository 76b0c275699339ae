"""The quality gate: what passes, what does not, and in which words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.base import format_decimal
from asrtune_api.gate import (
    Criterion,
    Gate,
    GateReason,
    QualityGate,
    Verdict,
    judge,
    read_verdict,
    verdict_entries,
)
from asrtune_api.scores import ErrorMetric, Score, best, certain, percent, read_scores, score_entries

PERCENTS = st.integers(0, 20_000).map(lambda cents: cents / 100)
POINTS = st.integers(-20_000, 20_000).map(lambda cents: cents / 100)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)


def score(set_: str, model: str, cer: float, **more: Any) -> Score:
    values = {"low": cer, "high": cer, "utterances": 100, **more}
    numbers = {
        key: percent(value) if isinstance(value, float) else value
        for key, value in {"cer": cer, **values}.items()
    }
    return Score.model_validate({"set": set_, "model": model, **numbers})


def gate(*criteria: dict[str, Any]) -> Gate:
    return Gate.model_validate({"criteria": list(criteria)})


SCORES = [
    score("calls", "base", 12.0, low=11.0, high=13.0, baseline=True),
    score(
        "calls", "tuned", 8.2, low=7.9, high=8.5, difference=-3.8, difference_low=-4.6, difference_high=-2.9
    ),
    score("studio", "base", 2.5, baseline=True, retention=True),
    score("studio", "tuned", 2.8, retention=True, difference=0.3, difference_low=-0.1, difference_high=0.7),
]


@pytest.mark.parametrize(
    ("criterion", "reason", "words"),
    [
        ({"maxPercent": "8.2"}, GateReason.PASSED, "tuned: the criterion holds."),
        (
            {"maxPercent": "8.19"},
            GateReason.ABOVE_MAXIMUM,
            'tuned on "calls": CER is 8.2 %, above the limit of 8.19 %.',
        ),
        (
            {"maxPercent": "8.4", "confident": True},
            GateReason.ABOVE_MAXIMUM,
            "CER is 8.2 % (95 % interval 7.9 to 8.5 %), above the limit of 8.4 %",
        ),
        ({"maxPercent": "8.5", "confident": True}, GateReason.PASSED, "holds"),
        ({"maxIncreasePercent": "0"}, GateReason.PASSED, "holds"),
        ({"maxIncreasePercent": "-3.8"}, GateReason.PASSED, "holds"),
        (
            {"maxIncreasePercent": "-4"},
            GateReason.WORSE_THAN_BASELINE,
            "CER is 8.2 %, 3.8 points below the baseline, where at least 4 less is asked for",
        ),
        (
            {"maxIncreasePercent": "-3", "confident": True},
            GateReason.WORSE_THAN_BASELINE,
            "3.8 points below the baseline (95 % interval -4.6 to -2.9), where at least 3 less is asked for",
        ),
        ({"set": "studio", "maxIncreasePercent": "0.3"}, GateReason.PASSED, "holds"),
        (
            {"set": "studio", "maxIncreasePercent": "0.5", "confident": True},
            GateReason.WORSE_THAN_BASELINE,
            "0.3 points above the baseline (95 % interval -0.1 to 0.7), where at most 0.5 more is asked for",
        ),
        (
            {"set": "cals", "maxPercent": "9"},
            GateReason.SET_MISSING,
            'not scored by CER on the test set "cals"',
        ),
        ({"metric": "WER", "maxPercent": "9"}, GateReason.SET_MISSING, "was scored by WER"),
    ],
)
def test_one_criterion(criterion: dict[str, Any], reason: GateReason, words: str) -> None:
    verdict = judge(gate(criterion), SCORES)
    assert (verdict.reason, verdict.passed) == (reason, reason is GateReason.PASSED)
    assert words in verdict.message


@pytest.mark.parametrize(
    "criterion", [{"maxPercent": "9", "confident": True}, {"maxIncreasePercent": "-1", "confident": True}]
)
@pytest.mark.parametrize(("utterances", "passed"), [(1, False), (19, False), (20, True)])
def test_few_utterances_prove_nothing(criterion: dict[str, Any], utterances: int, passed: bool) -> None:
    paired = {"difference": -3.8, "difference_low": -3.8, "difference_high": -3.8}
    row = score("calls", "tuned", 8.2, utterances=utterances, **paired)
    verdict = judge(gate(criterion), [row])
    assert verdict.passed is passed
    assert certain(row) == (-1 if passed else 0)
    assert judge(gate({**criterion, "confident": False}), [row]).passed
    if utterances == 1:
        assert verdict.reason is GateReason.TOO_FEW_UTTERANCES
        assert verdict.message == (
            'tuned on "calls": 1 utterance is too few to judge with confidence; 20 are the least.'
        )


def test_what_is_above_the_limit_is_told_first() -> None:
    row = score("calls", "tuned", 12.0, utterances=1)
    verdict = judge(gate({"maxPercent": "9", "confident": True}), [row])
    assert verdict.reason is GateReason.ABOVE_MAXIMUM


def test_an_empty_test_set_passes_no_gate() -> None:
    verdict = judge(gate({"maxPercent": "9"}), [score("calls", "tuned", 0.0, utterances=0)])
    assert (verdict.passed, verdict.reason) == (False, GateReason.TOO_FEW_UTTERANCES)
    assert verdict.message == 'tuned on "calls": no utterance was scored.'


@pytest.mark.parametrize(("low", "high", "side"), [(-2.0, -1.0, -1), (-1.0, 1.0, 0), (1.0, 2.0, 1)])
def test_what_the_interval_of_a_difference_makes_certain(low: float, high: float, side: int) -> None:
    assert certain(score("s", "m", 9.0, difference=0.0, difference_low=low, difference_high=high)) == side
    assert certain(score("s", "m", 9.0)) == 0


def test_all_criteria_must_hold_and_each_failure_is_told() -> None:
    verdict = judge(gate({"maxPercent": "9"}, {"maxPercent": "5"}, {"set": "x", "maxPercent": "9"}), SCORES)
    assert (verdict.passed, verdict.reason) == (False, GateReason.ABOVE_MAXIMUM)
    assert "above the limit of 5 %; tuned was not scored" in verdict.message


def test_many_failures_are_counted() -> None:
    scores = [score(f"s{number}", "m", 50.0) for number in range(9)]
    assert judge(gate({"maxPercent": "1"}), scores).message.endswith("; 4 more.")


def test_without_results_nothing_is_said() -> None:
    verdict = judge(gate({"maxPercent": "9"}), [])
    assert (verdict.passed, verdict.reason) == (None, GateReason.NOT_EVALUATED)


def test_every_model_but_the_baseline_is_judged_unless_some_are_named() -> None:
    scores = [*SCORES, score("calls", "other", 20.0)]
    assert judge(gate({"maxPercent": "9"}), scores).passed is False
    assert judge(gate({"maxPercent": "9"}), scores, ["tuned"]).passed is True
    assert judge(gate({"maxPercent": "9"}), scores, ["base"]).passed is False
    assert "nobody was not scored" in judge(gate({"maxPercent": "9"}), scores, ["nobody"]).message


def test_a_baseline_alone_is_judged_by_limits_but_not_against_itself() -> None:
    alone = [score("calls", "base", 5.0, baseline=True)]
    assert judge(gate({"maxPercent": "5"}), alone).passed is True
    assert judge(gate({"maxIncreasePercent": "5"}), alone).reason is GateReason.BASELINE_MISSING


def test_retention_sets_are_judged_only_by_name() -> None:
    retention = [score("old", "m", 50.0, retention=True)]
    assert judge(gate({"maxPercent": "9"}), retention).reason is GateReason.SET_MISSING
    assert judge(gate({"set": "old", "maxPercent": "9"}), retention).reason is GateReason.ABOVE_MAXIMUM


@given(PERCENTS, PERCENTS, st.booleans())
def test_the_absolute_limit_is_where_it_says(cer: float, limit: float, confident: bool) -> None:
    high = cer + 1.0
    verdict = judge(
        gate({"maxPercent": format_decimal(limit), "confident": confident}), [score("s", "m", cer, high=high)]
    )
    assert verdict.passed is ((round(high, 2) if confident else cer) <= limit)


@given(POINTS, POINTS)
def test_the_limit_against_the_baseline_is_where_it_says(difference: float, limit: float) -> None:
    row = score("s", "m", 200.0, difference=difference, difference_low=difference, difference_high=difference)
    criterion = Criterion.model_construct(
        set=None, metric=ErrorMetric.CER, max_percent=None, max_increase_percent=limit, confident=False
    )
    assert judge(Gate.model_construct(criteria=[criterion]), [row]).passed is (difference <= limit)


@given(st.lists(PERCENTS, min_size=1, max_size=6), PERCENTS, PERCENTS)
def test_a_stricter_gate_passes_nothing_more(rates: list[float], limit: float, stricter: float) -> None:
    scores = [score(f"s{place}", "m", rate) for place, rate in enumerate(rates)]
    passed = [
        judge(gate({"maxPercent": format_decimal(one)}), scores).passed for one in sorted((limit, stricter))
    ]
    assert passed in ([False, False], [False, True], [True, True])


def test_a_finetunes_gate_holds_publish_unless_it_says_otherwise() -> None:
    values = {"criteria": [{"maxPercent": "9"}]}
    assert QualityGate.model_validate(values).on_failure == "HoldPublish"


@st.composite
def some_scores(draw: st.DrawFn) -> list[Score]:
    pairs = draw(st.lists(st.tuples(NAMES, NAMES), max_size=12, unique=True))
    found = []
    for set_, model in pairs:
        cer, low, high = draw(PERCENTS), draw(PERCENTS), draw(PERCENTS)
        paired = draw(st.none() | st.tuples(POINTS, POINTS, POINTS))
        more: dict[str, Any] = {"low": low, "high": high, "utterances": draw(st.integers(0, 10**7))}
        if paired:
            more |= dict(zip(("difference", "difference_low", "difference_high"), paired, strict=True))
        flags = {"retention": draw(st.booleans()), "baseline": draw(st.booleans())}
        found.append(score(set_, model, cer, metric=draw(st.sampled_from(ErrorMetric)), **more, **flags))
    return found


@given(some_scores())
def test_scores_survive_a_termination_message(scores: list[Score]) -> None:
    assert read_scores({"train/loss": 1.0, "score/odd": "x", **score_entries(scores)}) == scores


@given(st.text(max_size=30), st.text(max_size=60))
def test_what_is_no_row_is_passed_over(name: str, line: str) -> None:
    assert len(read_scores({f"score/{name}": line, "score/s/m": 3})) <= 1


def test_a_row_is_short_enough_for_a_whole_evaluation() -> None:
    """32 pairs with names of 12 characters fit into a termination message beside a kilobyte of other things."""
    scores = [score(f"some-calls-{n}", f"checkpoint-{m}", 12.34, difference=-1.23, difference_low=-2.34,
                    difference_high=-0.12, low=11.11, high=13.13) for n in range(4) for m in range(8)]  # fmt: skip
    assert sum(len(name) + len(line) + 6 for name, line in score_entries(scores).items()) < 3072


@pytest.mark.parametrize("passed", [True, False, None])
def test_a_verdict_survives_a_termination_message(passed: bool | None) -> None:
    verdict = Verdict(passed, GateReason.ABOVE_MAXIMUM, "why")
    assert read_verdict({"train/loss": 1.0, **verdict_entries(verdict)}) == verdict
    assert read_verdict({"gate/passed": "maybe", "gate/reason": "Passed"}) is None
    assert read_verdict({"gate/passed": "True", "gate/reason": "Whim"}) is None


def test_best_is_the_lowest_on_the_first_set_of_the_new_domain() -> None:
    found = best([*SCORES, score("third", "base", 0.1)])
    assert found is not None
    assert (found.set, found.model, found.cer) == ("calls", "tuned", 8.2)
    assert best([]) is None
    retention = best([score("old", "m", 1.0, retention=True)])
    assert retention is not None
    assert retention.set == "old"


@given(st.floats(0, 1000, allow_nan=False))
def test_percentages_have_two_decimals(value: float) -> None:
    text = percent(value)
    assert abs(float(text) - value) <= 0.005001
    assert len(text.partition(".")[2]) <= 2


def test_there_is_no_negative_zero() -> None:
    assert percent(-0.001) == "0"
