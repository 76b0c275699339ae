"""How far a run is: a pure reducer over its events, and the sink that keeps the latest state."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from asrtune_api.progress import ProgressDocument, SetScore, Throughput
from asrtune_api.runspec import RunSpec
from asrtune_api.shares import SHARES
from asrtune_api.stages import StageType
from asrtune_trainer.telemetry.events import (
    Checkpointed,
    Event,
    Resumed,
    Scored,
    StageFinished,
    StageSkipped,
    StageStarted,
    TrainStep,
    Validated,
    Waiting,
    WaitKind,
    Work,
)


class Planned(NamedTuple):
    """A stage to come."""

    name: str
    share: int
    trains: bool


def plan_of(run: RunSpec) -> tuple[Planned, ...]:
    """The stages of a run from `start_at` to `stop_after`."""
    names = [stage.name for stage in run.stages]
    first = names.index(run.start_at) if run.start_at in names else 0
    end = names.index(run.stop_after) + 1 if run.stop_after in names else len(names)
    return tuple(
        Planned(stage.name, SHARES[stage.type], stage.type == StageType.TRAIN)
        for stage in run.stages[first:end]
    )


@dataclass(frozen=True, slots=True)
class ProgressState:
    """Where a run stands. Times are unix seconds, CERs percent."""

    run: str
    plan: tuple[Planned, ...]
    started: float
    updated: float
    """Time of the last event: what is long ago hangs."""
    attempt: int = 0
    stage: str = ""
    stage_type: str = ""
    state: str = "starting"
    """Of the stage: starting, running, skipped or finished."""
    wait: Waiting | None = None
    """What it waits for, before or in the stage."""
    position: int = 0
    """Of the stage in the chain, from 1."""
    total: int = 0
    """Stages in the chain."""
    fraction: float = 0.0
    """Of the stage, 0 to 1; never falls while the stage runs."""
    stage_started: float = 0.0
    measured_from: tuple[float, float] | None = None
    """Time and fraction from which on the stage's speed is measured."""
    seconds_a_share: float | None = None
    """Measured on a Train stage: what the later stages' time is guessed from."""
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    total_steps: int = 0
    skipped_steps: int = 0
    utterances_per_second: float | None = None
    audio_seconds_per_second: float | None = None
    last_loss: float | None = None
    best_cer: float | None = None
    """The lowest in a validation so far."""
    checkpoint_step: int | None = None
    checkpoint_at: float | None = None
    """None for a checkpoint that an earlier process saved."""
    work_reports: int = 0
    """How often work was counted, of any kind."""
    scores: tuple[Scored, ...] = ()
    """The last of each test set and model."""

    @classmethod
    def begin(cls, run: str, plan: Sequence[Planned], now: float, *, attempt: int = 0) -> ProgressState:
        """A run before its first event."""
        return cls(run=run, plan=tuple(plan), started=now, updated=now, attempt=attempt)

    def apply(self, event: Event, now: float) -> ProgressState:
        """The state after an event; pure."""
        reports = self.work_reports + isinstance(event, Work)
        state = replace(self, updated=now, work_reports=reports)
        match event:
            case StageStarted():
                state = _enter(state, event, "running", 0.0)
            case StageSkipped():
                state = _enter(state, event, "skipped", 1.0)
            case StageFinished() if event.stage == self.stage:
                state = replace(state, state="finished", fraction=1.0)
            case Waiting():
                state = replace(state, wait=event if event.kind is not WaitKind.NOTHING else None)
            case Work() if event.stage == self.stage and not self.trains:
                state = _work(state, event)
            case Resumed() | TrainStep() | Validated() | Checkpointed():
                state = _train(state, event)
            case Scored():
                others = (one for one in self.scores if (one.set, one.model) != (event.set, event.model))
                state = replace(state, scores=(*others, event))
        return state

    @property
    def place(self) -> int | None:
        """Index of the stage in the plan."""
        return next((index for index, one in enumerate(self.plan) if one.name == self.stage), None)

    @property
    def trains(self) -> bool:
        """Whether the stage counts optimiser steps; its other counts (decoding for a validation) are no progress."""
        return self.stage_type == StageType.TRAIN

    @property
    def percent(self) -> float:
        """Of the whole chain, 0 to 100."""
        shares = sum(one.share for one in self.plan)
        place = self.place
        if place is None:
            return 0.0
        before = sum(one.share for one in self.plan[:place])
        return 100.0 * (before + self.plan[place].share * self.fraction) / shares

    @property
    def stage_eta_seconds(self) -> float | None:
        """Until the stage ends, by its own speed; None where it has none yet."""
        if self.fraction >= 1:
            return 0.0
        whole = self.whole_stage_seconds
        return None if whole is None else whole * (1 - self.fraction)

    @property
    def eta_seconds(self) -> float | None:
        """Until the chain ends; None while a training is ahead whose speed nobody knows."""
        place = self.place
        if place is None:
            return None
        here, later = self.plan[place], self.plan[place + 1 :]
        rest = self.stage_eta_seconds
        pace = self.seconds_a_share
        if pace is None and rest is not None and not any(one.trains for one in later):
            pace = (self.whole_stage_seconds or 0.0) / here.share
        if rest is None and pace is not None:
            rest = pace * here.share * (1 - self.fraction)
        if rest is None or (later and pace is None):
            return None
        return _finite(rest + (pace or 0.0) * sum(one.share for one in later))

    def document(self) -> ProgressDocument:
        """What /progress serves."""
        return ProgressDocument(
            run=self.run,
            attempt=self.attempt,
            stage=self.stage,
            stage_type=self.stage_type,
            stage_state="waiting" if self.wait else self.state,
            waiting_for=self.wait.kind.value if self.wait else "",
            waiting_message=self.wait.message if self.wait else "",
            stage_position=self.position,
            stage_count=self.total,
            stage_percent=round(100 * self.fraction, 2),
            stage_eta_seconds=_rounded(self.stage_eta_seconds),
            epoch=self.epoch,
            epochs=self.epochs,
            step=self.step,
            total_steps=self.total_steps,
            skipped_steps=self.skipped_steps,
            percent=round(self.percent, 2),
            eta_seconds=_rounded(self.eta_seconds),
            throughput=Throughput(
                utterances_per_second=_rounded(self.utterances_per_second),
                audio_seconds_per_second=_rounded(self.audio_seconds_per_second),
            ),
            last_loss=self.last_loss,
            best_cer=self.best_cer,
            checkpoint_step=self.checkpoint_step,
            checkpoint_at=_rounded(self.checkpoint_at),
            work_reports=self.work_reports,
            scores=[
                SetScore(
                    set=one.set,
                    model=one.model,
                    cer=_finite(one.cer),
                    low=_finite(one.low),
                    high=_finite(one.high),
                    retention=one.retention,
                )
                for one in self.scores
            ],
            started=round(self.started, 3),
            updated=round(self.updated, 3),
        )

    @property
    def whole_stage_seconds(self) -> float | None:
        """The stage's time from nothing to all, as far as its speed can be measured."""
        if self.measured_from is None:
            return None
        since, fraction = self.measured_from
        if self.fraction <= fraction or self.updated <= since:
            return None
        return _finite((self.updated - since) / (self.fraction - fraction))


def _enter(
    state: ProgressState, event: StageStarted | StageSkipped, name: str, fraction: float
) -> ProgressState:
    return replace(
        state,
        stage=event.stage,
        stage_type=event.type,
        state=name,
        position=event.position,
        total=event.total,
        fraction=fraction,
        stage_started=state.updated,
        measured_from=None,
        wait=None,
    )


def _work(state: ProgressState, event: Work) -> ProgressState:
    part = min(1.0, max(0.0, event.done / event.total)) if event.total > 0 else 1.0
    state = _advance(state, (event.part - 1 + part) / max(event.parts, 1))
    return replace(state, measured_from=state.measured_from or (state.stage_started, 0.0))


def _train(state: ProgressState, event: Resumed | TrainStep | Validated | Checkpointed) -> ProgressState:
    match event:
        case Resumed():
            return _resume(state, event)
        case TrainStep():
            return _step(state, event)
        case Checkpointed():
            return replace(state, checkpoint_step=event.step, checkpoint_at=state.updated)
        case Validated():
            if event.cer is None or not math.isfinite(event.cer):
                return state
            best = event.cer if state.best_cer is None else min(event.cer, state.best_cer)
            return replace(state, best_cer=best)


def _resume(state: ProgressState, event: Resumed) -> ProgressState:
    state = replace(
        state,
        step=event.step,
        total_steps=event.total_steps,
        checkpoint_step=event.step,
        checkpoint_at=None,
    )
    if event.stage != state.stage or event.total_steps <= 0:
        return state
    return _advance(state, event.step / event.total_steps)


def _step(state: ProgressState, event: TrainStep) -> ProgressState:
    state = replace(
        state,
        wait=None,
        epoch=event.epoch,
        epochs=event.epochs,
        step=event.step,
        total_steps=event.total_steps,
        skipped_steps=event.skipped_steps,
        utterances_per_second=_finite(event.utterances_per_second),
        audio_seconds_per_second=_finite(event.audio_seconds_per_second),
        last_loss=_finite(event.loss),
    )
    if event.stage != state.stage or event.total_steps <= 0:
        return state
    state = _advance(state, event.step / event.total_steps)
    # From the first log line on: what lies before it is loading, or was done before an interruption.
    state = replace(state, measured_from=state.measured_from or (state.updated, state.fraction))
    whole, place = state.whole_stage_seconds, state.place
    if whole is None or place is None:
        return state
    return replace(state, seconds_a_share=whole / state.plan[place].share)


def _advance(state: ProgressState, fraction: float) -> ProgressState:
    return replace(state, fraction=min(1.0, max(state.fraction, fraction)))


class Progress:
    """Keeps the latest state for whoever asks.

    Args:
        state: the run before its first event.
        clock: unix seconds.
    """

    name = "/progress"

    def __init__(self, state: ProgressState, *, clock: Callable[[], float] = time.time) -> None:
        self.state = state
        self._clock = clock
        self._lock = threading.Lock()

    def accept(self, event: Event) -> None:
        with self._lock:
            self.state = self.state.apply(event, self._clock())

    def json(self) -> bytes:
        """The state as a JSON document."""
        return self.state.document().model_dump_json().encode()

    def close(self) -> None:
        """Nothing to bring home: the state stays."""


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    finite = _finite(value)
    return None if finite is None else round(finite, 3)
