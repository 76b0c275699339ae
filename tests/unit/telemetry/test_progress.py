"""How far, how good, how long yet: the reducer."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.progress import ProgressDocument, SetScore, Throughput
from asrtune_trainer.telemetry.events import (
    Checkpointed,
    Event,
    Resumed,
    Scored,
    StageFinished,
    StageSkipped,
    StageStarted,
    Validated,
    Waiting,
    WaitKind,
    Work,
)
from asrtune_trainer.telemetry.progress import Planned, Progress, ProgressState, plan_of
from tools.events import anything, train_step
from tools.runs import run_spec

PLAN = (
    Planned("prepare", 10, trains=False),
    Planned("train", 70, trains=True),
    Planned("evaluate", 20, trains=False),
)
TYPES = {"prepare": "Prepare", "train": "Train", "evaluate": "Evaluate"}


def begin(now: float = 0.0) -> ProgressState:
    return ProgressState.begin("demo", PLAN, now)


def started(stage: str) -> StageStarted:
    names = list(TYPES)
    return StageStarted(stage, TYPES[stage], names.index(stage) + 1, len(names))


def play(*events: tuple[float, Event], state: ProgressState | None = None) -> ProgressState:
    state = state or begin()
    for now, event in events:
        state = state.apply(event, now)
    return state


counts = st.integers(-3, 500)
names = st.sampled_from([*TYPES, "unknown"])
plausible = st.one_of(
    names.filter(TYPES.__contains__).map(started),
    names.map(lambda name: StageFinished(name, TYPES.get(name, "Train"), 1.0)),
    names.map(lambda name: StageSkipped(name, TYPES.get(name, "Train"), 1, 3)),
    st.builds(Work, stage=names, what=st.just("x"), done=counts, total=counts, part=counts, parts=counts),
    st.builds(
        lambda stage, step, total: train_step(stage=stage, step=step, total_steps=total),
        names,
        counts,
        counts,
    ),
)


@given(st.lists(st.tuples(st.floats(-1e9, 1e12), st.one_of(plausible, anything)), max_size=40))
def test_percent_is_monotone_within_a_stage_and_etas_are_finite(events: list[tuple[float, Event]]) -> None:
    state = begin()
    for now, event in events:
        before, state = state, state.apply(event, now)
        assert 0 <= state.percent <= 100
        assert 0 <= state.fraction <= 1
        if not isinstance(event, StageStarted | StageSkipped):
            assert state.percent >= before.percent
        for eta in (state.eta_seconds, state.stage_eta_seconds):
            assert eta is None or (math.isfinite(eta) and eta >= 0)
        assert state.updated == now
        document = state.document()
        assert ProgressDocument.model_validate_json(document.model_dump_json()) == document


def test_percent_is_of_the_whole_chain() -> None:
    state = play((1, started("prepare")), (2, Work("prepare", "checked", 50, 100)))
    assert state.percent == 5
    state = play((3, StageFinished("prepare", "Prepare", 2)), state=state)
    assert state.percent == 10
    state = play((4, started("train")), (5, train_step(step=100, total_steps=400)), state=state)
    assert state.percent == 10 + 70 / 4
    state = play(
        (6, StageFinished("train", "Train", 2)), (7, StageSkipped("evaluate", "Evaluate", 3, 3)), state=state
    )
    assert state.percent == 100
    assert state.eta_seconds == 0


def test_a_stage_that_counts_several_things_shares_its_percent_among_them() -> None:
    state = play((0, started("prepare")), (1, Work("prepare", "read", 100, 100, part=1, parts=2)))
    assert state.fraction == 0.5
    assert play((2, Work("prepare", "checked", 50, 100, part=2, parts=2)), state=state).fraction == 0.75


def test_decoding_for_a_validation_is_no_progress_of_training() -> None:
    state = play((0, started("train")), (1, train_step(step=40, total_steps=400)))
    assert play((2, Work("train", "decoded", 100, 100)), state=state).fraction == 0.1


def test_nobody_knows_the_eta_while_a_training_is_ahead() -> None:
    state = play((0, started("prepare")), (5, Work("prepare", "checked", 50, 100)))
    assert state.stage_eta_seconds == 5
    assert state.eta_seconds is None


def test_the_eta_of_training_is_measured_from_its_first_log_line() -> None:
    # Loading took 60 s, and 100 steps were done before an interruption: neither is the speed.
    state = play((0, started("train")), (60, train_step(step=110, total_steps=400)))
    assert state.stage_eta_seconds is None
    state = play((70, train_step(step=120, total_steps=400)), state=state)
    assert state.stage_eta_seconds == pytest.approx(280)
    # Evaluate's share is 20 to Train's 70, whose 400 steps take 400 s.
    assert state.eta_seconds == pytest.approx(280 + 400 * 20 / 70)


def test_later_stages_are_guessed_by_the_speed_of_training() -> None:
    state = play(
        (0, started("train")),
        (10, train_step(step=10, total_steps=70)),
        (20, train_step(step=20, total_steps=70)),
        (70, StageFinished("train", "Train", 70)),
    )
    assert state.eta_seconds == pytest.approx(20)
    state = play((71, started("evaluate")), state=state)
    assert state.eta_seconds == pytest.approx(20)


def test_a_chain_without_training_has_an_eta_too() -> None:
    state = ProgressState.begin("demo", PLAN[2:], 0.0)
    state = play((0, started("evaluate")), (10, Work("evaluate", "decoded", 1, 4)), state=state)
    assert state.eta_seconds == pytest.approx(30)


def test_a_clock_that_is_set_back_gives_no_eta() -> None:
    state = play((100, started("prepare")), (50, Work("prepare", "checked", 50, 100)))
    assert state.stage_eta_seconds is None


def test_the_document_says_how_good_it_is() -> None:
    state = play(
        (0, started("train")),
        (1, train_step(step=1, loss=math.nan)),
        (2, Validated("train", 1, 100, 1.0, None, 12.5, 1.0, best=True)),
        (3, Validated("train", 1, 200, 1.0, None, 13.5, 1.0, best=False)),
        (4, Validated("train", 1, 300, 1.0, None, math.nan, 1.0, best=False)),
        (5, Scored("evaluate", "telephone", "base", 40.0, 38.0, 42.0, 100)),
        (6, Scored("evaluate", "telephone", "base", 41.0, 38.0, math.inf, 100)),
    )
    document = state.document()
    assert document.best_cer == 12.5
    assert document.last_loss is None
    assert document.scores == [SetScore(set="telephone", model="base", cer=41.0, low=38.0)]
    assert document.throughput == Throughput(utterances_per_second=40.0, audio_seconds_per_second=160.0)
    assert (document.step, document.total_steps, document.updated) == (1, 400, 6)


def test_waiting_is_told_until_it_is_over() -> None:
    wait = Waiting("train", WaitKind.RENDEZVOUS, "for 1 of 2 nodes: node 1")
    state = play((1, started("train")), (2, wait))
    document = state.document()
    assert (document.stage_state, document.waiting_for) == ("waiting", "Rendezvous")
    assert document.waiting_message == "for 1 of 2 nodes: node 1"
    over = play((3, Waiting("train", WaitKind.NOTHING)), state=state).document()
    assert (over.stage_state, over.waiting_for, over.waiting_message) == ("running", "", "")
    assert play((3, train_step()), state=state).document().stage_state == "running"


def test_before_the_first_stage_it_may_wait_too() -> None:
    state = play((1, Waiting("", WaitKind.DOWNLOAD, "the base model")))
    assert state.document().stage_state == "waiting"


def test_the_last_checkpoint_is_told_with_its_time() -> None:
    state = play((1, started("train")))
    assert (state.document().checkpoint_step, state.document().checkpoint_at) == (None, None)
    state = play((2, Resumed("train", 200, 400)), state=state)
    assert (state.document().checkpoint_step, state.document().checkpoint_at) == (200, None)
    assert (state.document().step, state.document().stage_percent) == (200, 50)
    state = play((3, Checkpointed("train", 300, 0.1, 2.0)), state=state)
    assert (state.document().checkpoint_step, state.document().checkpoint_at) == (300, 3)


def test_the_plan_is_the_part_that_is_run() -> None:
    run = run_spec(Path("out")).model_copy(update={"start_at": "train", "stop_after": "train"})
    assert [one.name for one in plan_of(run)] == ["train"]
    assert [one.name for one in plan_of(run_spec(Path("out")))] == ["prepare", "train", "evaluate"]


def test_the_sink_keeps_the_latest_state() -> None:
    times = iter([5.0, 6.0])
    progress = Progress(begin(), clock=lambda: next(times))
    progress.accept(started("train"))
    progress.accept(train_step(step=100))
    document = json.loads(progress.json())
    assert (document["run"], document["stage"], document["step"]) == ("demo", "train", 100)
    assert (document["stage_position"], document["stage_count"], document["stage_state"]) == (2, 3, "running")
    assert (document["started"], document["updated"]) == (0.0, 6.0)
