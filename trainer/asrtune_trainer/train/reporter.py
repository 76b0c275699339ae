"""Turns readings into events, on rank 0 alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from asrtune_api.stages import Metric, TrainParams
from asrtune_trainer.data.batching import Batching, Indices
from asrtune_trainer.telemetry.events import Checkpointed, Note, Saving, Telemetry, TrainStep, Validated, Work
from asrtune_trainer.train.feed import Loaded
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.history import History
from asrtune_trainer.train.meter import Reading, peak_memory, used_memory
from asrtune_trainer.train.progress import Progress
from asrtune_trainer.train.schedule import LearningRate
from asrtune_trainer.train.validate import Told, Validation

LONG_SECONDS = 10.0
"""A validation that takes longer tells how far it is."""
BETWEEN_SECONDS = 1.0
"""Between two such words."""


@dataclass
class Reporter:
    """Speaks for a trainer."""

    stage: str
    params: TrainParams
    batching: Batching
    gang: Gang
    telemetry: Telemetry
    history: History | None
    """None on ranks other than 0."""
    _seen: list[Indices] = field(default_factory=list)

    def padding(self, loaded: Loaded) -> None:
        """Remember a batch for the share of padding."""
        self._seen.append(loaded.indices)

    def step(self, progress: Progress, schedule: LearningRate, reading: Reading) -> None:
        seen, self._seen = self._seen, []
        if self.history is None:
            return
        share = {name: seconds / reading.steps for name, seconds in reading.phases.items()}
        event = TrainStep(
            stage=self.stage,
            rank=self.gang.rank,
            epoch=progress.current_epoch,
            epochs=self.params.epochs,
            step=progress.step,
            total_steps=max(schedule.total, progress.step),
            loss=reading.loss,
            accuracy=reading.accuracy,
            learning_rate=schedule.at(progress.step - 1),
            gradient_norm=reading.gradient_norm,
            batch_utterances=reading.utterances / reading.steps,
            data_seconds=share["data"],
            forward_seconds=share["forward"],
            backward_seconds=share["backward"],
            optimizer_seconds=share["optimizer"],
            step_seconds=reading.seconds / reading.steps,
            # Every rank does the like: rank 0 times the gang's size.
            utterances_per_second=self.gang.world * reading.utterances / reading.seconds,
            audio_seconds_per_second=self.gang.world * reading.audio_seconds / reading.seconds,
            memory_bytes=peak_memory(self.gang.device),
            memory_used_bytes=used_memory(self.gang.device),
            skipped_steps=progress.skipped,
            padding_percent=self.batching.padding_percent(seen),
        )
        self.history.add(event)
        self.telemetry.emit(event)

    def validating(self) -> Told:
        """What hears of a validation's batches; it says nothing of a short one, and not much of a long one."""
        due = time.monotonic() + LONG_SECONDS

        def told(done: int, total: int) -> None:
            nonlocal due
            if self.history is not None and (now := time.monotonic()) >= due:
                due = now + BETWEEN_SECONDS
                self.telemetry.emit(Work(self.stage, "validated", done, total, "batches"))

        return told

    def validated(self, progress: Progress, found: Validation, *, best: bool) -> None:
        if self.history is None:
            return
        if self.params.selection.metric is Metric.ACCURACY and found.accuracy is None:
            message = "this model reports no accuracy: checkpoints are judged by the validation loss instead"
            self.telemetry.emit(Note(self.stage, message, warning=True))
        event = Validated(
            self.stage,
            progress.current_epoch,
            progress.step,
            found.loss,
            found.accuracy,
            found.cer,
            found.seconds,
            best,
        )
        self.history.add(event)
        self.telemetry.emit(event)

    @contextmanager
    def saving(self, step: int) -> Iterator[Callable[[float], None]]:
        """Time what holds the loop up; the yielded function reports when the checkpoint is complete."""
        started = time.monotonic()
        held = [0.0]
        self.telemetry.emit(Saving(self.stage, step))

        def done(write_seconds: float) -> None:
            self.telemetry.emit(Checkpointed(self.stage, step, held[0], write_seconds))

        yield done
        held[0] = time.monotonic() - started
