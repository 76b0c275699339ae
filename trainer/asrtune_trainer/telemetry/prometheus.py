"""A run's metrics for Prometheus: what the last events said, put together when somebody scrapes.

Names and units follow https://prometheus.io/docs/practices/naming/: base units, ratios from 0 to 1, a timestamp
where one could export an age (and the age too, for those who read /metrics by eye).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from asrtune_trainer.telemetry.events import (
    Checkpointed,
    Event,
    Scored,
    StageFinished,
    StageSkipped,
    StageStarted,
    TrainStep,
    Validated,
)
from asrtune_trainer.telemetry.progress import Progress, ProgressState

STATES = ("pending", "running", "finished", "skipped")
Row = tuple[tuple[str, ...], float | None]
"""Label values and the value; None is not exported."""

TRAIN: tuple[tuple[str, str, Callable[[TrainStep], float | None]], ...] = (
    ("loss", "Mean training loss since the last log line.", lambda one: one.loss),
    ("accuracy_ratio", "Mean training accuracy since the last log line.", lambda one: one.accuracy),
    ("learning_rate", "Learning rate of the first parameter group.", lambda one: one.learning_rate),
    ("gradient_norm", "Mean gradient norm before clipping.", lambda one: one.gradient_norm),
    ("epoch", "Epoch, from 1.", lambda one: one.epoch),
    ("epochs_planned", "Epochs that training may take.", lambda one: one.epochs),
    ("step", "Optimiser steps since the start of training.", lambda one: one.step),
    ("steps_planned", "Optimiser steps that training may take.", lambda one: one.total_steps),
    ("skipped_steps", "Steps skipped because a gradient was not finite.", lambda one: one.skipped_steps),
    ("batch_utterances", "Mean utterances in a batch.", lambda one: one.batch_utterances),
    ("utterances_per_second", "Utterances trained on in a second.", lambda one: one.utterances_per_second),
    (
        "audio_seconds_per_second",
        "Seconds of audio trained on in a second.",
        lambda one: one.audio_seconds_per_second,
    ),
    ("step_seconds", "Mean time of an optimiser step.", lambda one: one.step_seconds),
    ("data_wait_ratio", "Share of a step spent waiting for data.", lambda one: _share(one.data_seconds, one)),
    ("padding_ratio", "Share of a batch that is padding.", lambda one: one.padding_percent / 100),
    ("memory_peak_bytes", "Peak memory: allocated on the GPU, or resident.", lambda one: one.memory_bytes),
    ("memory_used_bytes", "GPU memory allocated at the last log line.", lambda one: one.memory_used_bytes),
)
VALIDATION: tuple[tuple[str, str, Callable[[Validated], float | None]], ...] = (
    ("loss", "Loss of the last validation.", lambda one: one.loss),
    ("accuracy_ratio", "Accuracy of the last validation.", lambda one: one.accuracy),
    ("cer_ratio", "Character error rate of the last validation.", lambda one: _ratio(one.cer)),
    ("step", "Optimiser step of the last validation.", lambda one: one.step),
    ("duration_seconds", "Time the last validation took.", lambda one: one.seconds),
)
CHECKPOINT: tuple[tuple[str, str, Callable[[Checkpointed], float | None]], ...] = (
    ("step", "Optimiser step of the newest complete checkpoint.", lambda one: one.step),
    ("wait_seconds", "Time training was held up by the newest checkpoint.", lambda one: one.seconds),
    ("duration_seconds", "Time until the newest checkpoint was complete.", lambda one: one.write_seconds),
)
SCORE: tuple[tuple[str, str, Callable[[Scored], float | None]], ...] = (
    ("cer_ratio", "CER of a model on a test set; WER with unit: Word.", lambda one: _ratio(one.cer)),
    ("cer_low_ratio", "Lower end of its confidence interval.", lambda one: _ratio(one.low)),
    ("cer_high_ratio", "Upper end of its confidence interval.", lambda one: _ratio(one.high)),
    ("scored_utterances", "Utterances it is of.", lambda one: one.utterances),
)


class RunMetrics(Collector):
    """Remembers the last events of a run and exports them.

    Args:
        progress: of the same run; must hear each event before this sink does.
        clock: unix seconds.
    """

    name = "/metrics"

    def __init__(self, progress: Progress, *, clock: Callable[[], float] = time.time) -> None:
        self._progress = progress
        self._clock = clock
        self._lock = threading.Lock()
        self._run = progress.state.run
        self._states = {one.name: "pending" for one in progress.state.plan}
        self._steps: dict[str, TrainStep] = {}
        self._validations: dict[str, Validated] = {}
        self._checkpoints: dict[str, tuple[Checkpointed, float]] = {}
        self._scores: dict[tuple[str, str, str], Scored] = {}
        self._finished: dict[str, StageFinished] = {}

    def registry(self) -> CollectorRegistry:
        """A registry of its own, with nothing of the process in it."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return registry

    def accept(self, event: Event) -> None:
        with self._lock:
            match event:
                case StageStarted():
                    self._states[event.stage] = "running"
                case StageSkipped():
                    self._states[event.stage] = "skipped"
                case StageFinished():
                    self._states[event.stage] = "finished"
                    self._finished[event.stage] = event
                case TrainStep():
                    self._steps[event.stage] = event
                case Validated():
                    self._validations[event.stage] = event
                case Checkpointed():
                    self._checkpoints[event.stage] = (event, self._clock())
                case Scored():
                    self._scores[event.stage, event.set, event.model] = event
                case _:
                    pass

    def close(self) -> None:
        """Nothing to bring home: the last values stay."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All families that have a value."""
        with self._lock:
            families = [
                *self._of_chain(self._progress.state),
                *self._of_stages(self._progress.state),
                *self._of_training(),
                *self._of_checkpoints(),
                *self._of_scores(),
            ]
        return (family for family in families if family.samples)

    def _of_chain(self, state: ProgressState) -> Iterator[GaugeMetricFamily]:
        values = (
            ("progress_ratio", "How much of the chain is done.", state.percent / 100),
            ("eta_seconds", "Time left of the chain, where it can be guessed.", state.eta_seconds),
            ("start_timestamp_seconds", "When this process began the run.", state.started),
            ("last_event_timestamp_seconds", "When the run last gave a sign of life.", state.updated),
            ("best_validation_cer_ratio", "The lowest CER in a validation.", _ratio(state.best_cer)),
        )
        for name, text, value in values:
            yield _family(f"chain_{name}", text, (), [((self._run,), value)])

    def _of_stages(self, state: ProgressState) -> Iterator[GaugeMetricFamily]:
        run = self._run
        one_hot: list[Row] = [
            ((run, stage, name), float(now == name)) for stage, now in self._states.items() for name in STATES
        ]
        done: list[Row] = [
            ((run, stage), state.fraction if stage == state.stage else float(now in ("finished", "skipped")))
            for stage, now in self._states.items()
        ]
        results: list[Row] = [
            ((run, stage, metric), value)
            for stage, event in self._finished.items()
            for metric, value in event.metrics.items()
        ]
        seconds: list[Row] = [((run, stage), event.seconds) for stage, event in self._finished.items()]
        left: list[Row] = [((run, state.stage), state.stage_eta_seconds if state.stage else None)]
        yield _family("stage_state", "1 for the state the stage is in.", ("stage", "state"), one_hot)
        yield _family("stage_progress_ratio", "How much of the stage is done.", ("stage",), done)
        yield _family("stage_eta_seconds", "Time left of the stage.", ("stage",), left)
        yield _family("stage_duration_seconds", "Time a finished stage took.", ("stage",), seconds)
        yield _family("stage_result", "A finished stage's own metrics.", ("stage", "metric"), results)

    def _of_training(self) -> Iterator[GaugeMetricFamily]:
        for name, text, value in TRAIN:
            rows: list[Row] = [((self._run, stage), value(one)) for stage, one in self._steps.items()]
            yield _family(f"train_{name}", text, ("stage",), rows)
        phases: list[Row] = [
            ((self._run, stage, phase), seconds)
            for stage, one in self._steps.items()
            for phase, seconds in (
                ("data", one.data_seconds),
                ("forward", one.forward_seconds),
                ("backward", one.backward_seconds),
                ("optimizer", one.optimizer_seconds),
            )
        ]
        yield _family("train_phase_seconds", "Mean time of a step by phase.", ("stage", "phase"), phases)
        for name, text, measure in VALIDATION:
            rows = [((self._run, stage), measure(one)) for stage, one in self._validations.items()]
            yield _family(f"validation_{name}", text, ("stage",), rows)

    def _of_checkpoints(self) -> Iterator[GaugeMetricFamily]:
        for name, text, value in CHECKPOINT:
            rows: list[Row] = [
                ((self._run, stage), value(one)) for stage, (one, _) in self._checkpoints.items()
            ]
            yield _family(f"checkpoint_{name}", text, ("stage",), rows)
        now = self._clock()
        at: list[Row] = [((self._run, stage), when) for stage, (_, when) in self._checkpoints.items()]
        age: list[Row] = [(labels, None if when is None else max(0.0, now - when)) for labels, when in at]
        yield _family("checkpoint_timestamp_seconds", "When the newest was complete.", ("stage",), at)
        yield _family("checkpoint_age_seconds", "Time since the newest was complete.", ("stage",), age)

    def _of_scores(self) -> Iterator[GaugeMetricFamily]:
        for name, text, value in SCORE:
            rows: list[Row] = [((self._run, *labels), value(one)) for labels, one in self._scores.items()]
            yield _family(name, text, ("stage", "set", "model"), rows)


def _family(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"asrtune_{name}", text, labels=("run", *labels))
    for values, value in rows:
        if value is not None:
            family.add_metric(values, value)
    return family


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _share(seconds: float, step: TrainStep) -> float | None:
    return seconds / step.step_seconds if step.step_seconds > 0 else None
