"""The training loop. Its parts are components; what is here is only their order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NoReturn

import torch

from asrtune_api.errors import DivergedError, InterruptedRunError
from asrtune_api.stages import TrainParams
from asrtune_trainer.data.batching import Batching
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.models.freeze import train_mode
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.checkpoint import (
    Checkpoints,
    TrainingState,
    random_state,
    restore_random_state,
    to_cpu,
)
from asrtune_trainer.train.feed import Feed, Loaded
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.meter import Meter
from asrtune_trainer.train.optimizer import clip_gradients, set_learning_rate
from asrtune_trainer.train.precision import Arithmetic
from asrtune_trainer.train.progress import Judged, Progress
from asrtune_trainer.train.reporter import Reporter
from asrtune_trainer.train.schedule import LearningRate
from asrtune_trainer.train.validate import Validator

SILENCE_SECONDS = 60.0
"""A step that ends so long after the last log line has one: slow steps must not look like a hang."""


@dataclass
class Trainer:
    """One process of a training gang."""

    params: TrainParams
    model: SpeechModel
    module: torch.nn.Module
    """The model's module, wrapped for the gang."""
    optimizer: torch.optim.Optimizer
    arithmetic: Arithmetic
    schedule: LearningRate
    batching: Batching
    feed: Feed
    validator: Validator
    checkpoints: Checkpoints
    checkpoint_every: int
    gang: Gang
    reporter: Reporter
    stop: StopSignal
    progress: Progress

    def run(self) -> Progress:
        """Train to the end.

        Raises:
            InterruptedRunError: asked to stop; a checkpoint of the last finished step is complete.
            DivergedError: more steps than allowed had to be skipped, or nothing came of the others.
        """
        self.meter = Meter(self.gang.device)
        if self._owes_validation():
            self._judge()
        while not self._finished():
            for step in self._epoch():
                self._train(step)
                self._after_step()
                if self._finished():
                    break
            else:
                self.progress.epoch += 1
                self.progress.group = 0
                self._after_epoch()
        if not self.progress.judged or self.progress.judged[-1].step < self.progress.step:
            self._judge()
        self.checkpoints.wait()
        self._check_outcome()
        return self.progress

    def _finished(self) -> bool:
        done = self.params.max_steps is not None and self.progress.step >= self.params.max_steps
        return (
            done
            or self.progress.epoch >= self.params.epochs
            or self.progress.out_of_patience(self.params.selection)
        )

    def _owes_validation(self) -> bool:
        """A run that was stopped at a step with a validation, or during it, has left without it."""
        every, progress = self.params.validation.every_steps, self.progress
        if progress.step == 0 or (progress.judged and progress.judged[-1].step == progress.step):
            return False
        return progress.group == 0 if every is None else progress.step % every == 0

    def _epoch(self) -> Iterator[list[Loaded]]:
        """What is left of the current epoch."""
        groups = self.batching.epoch(self.progress.epoch)[self.progress.group :]
        train_mode(self.model)
        steps = self.feed.steps(groups, self.gang.rank, self.params.accumulate)
        while True:
            with self.meter.watch.phase("data"):
                step = next(steps, None)
            if step is None:
                return
            yield step

    def _train(self, step: list[Loaded]) -> None:
        watch = self.meter.watch
        for position, loaded in enumerate(step):
            last = position == len(step) - 1
            # Gradients are summed on each rank and exchanged once a step.
            with nullcontext() if last or self.gang.world == 1 else self.module.no_sync():  # type: ignore[operator]
                with watch.phase("forward"), self.arithmetic.autocast():
                    result = self.model.forward(self.module, loaded.batch)
                with watch.phase("backward"):
                    self.arithmetic.backward(result.loss / len(step))
            self.meter.batch(loaded, result)
            self.reporter.padding(loaded)
        with watch.phase("optimizer"):
            set_learning_rate(self.optimizer, self.schedule.at(self.progress.step))
            self.arithmetic.unscale(self.optimizer)
            norm = clip_gradients(self.module.parameters(), self.params.gradient_clip)
            skipped = self.arithmetic.step(self.optimizer, norm)
            self.optimizer.zero_grad(set_to_none=True)
        self.meter.step(norm, skipped)
        self.progress.step += 1
        self.progress.group += len(step)

    def _after_step(self) -> None:
        step = self.progress.step
        every = self.params.validation.every_steps
        stop, silent = self.gang.sum([float(bool(self.stop)), float(self.meter.age() >= SILENCE_SECONDS)])
        if step == 1 or step % self.params.log_every_steps == 0 or silent:
            self._log()
        if stop:
            self._leave()
        if every and step % every == 0:
            self._judge()
        elif step % self.checkpoint_every == 0:
            self._save()

    def _leave(self) -> NoReturn:
        """Save, wait until it is complete on every rank, and end.

        Raises:
            InterruptedRunError: always.
        """
        self._save()
        self.checkpoints.wait()
        self.gang.wait()
        cause = self.stop.cause or "a signal to another rank"
        raise InterruptedRunError(
            f"stopped by {cause} after step {self.progress.step}; a checkpoint is saved.",
            remedy="Run the same command again; training goes on with the next batch.",
        )

    def _after_epoch(self) -> None:
        if self.params.validation.every_steps is None:
            self._judge()

    def _log(self) -> None:
        reading = self.meter.read()
        if reading.skipped and not self.arithmetic.searching():
            self.progress.skipped += reading.skipped
        if reading.steps:
            self.reporter.step(self.progress, self.schedule, reading)
        if self.progress.skipped > self.params.non_finite_allowance:
            raise self._diverged(f"{self._skipped()}; {self.params.non_finite_allowance} are allowed.")

    def _check_outcome(self) -> None:
        """A run may be too short to use its allowance up.

        Raises:
            DivergedError: most steps were skipped, or no checkpoint has a validation loss.
        """
        progress = self.progress
        if 2 * progress.skipped > progress.step:
            raise self._diverged(f"{self._skipped()}: more than half.")
        # Infinity is no verdict: CTC has it for a single utterance with more text than frames.
        if math.isnan(progress.best(self.params.selection)[0].loss):
            raise self._diverged("the validation loss of the best checkpoint is not a number.")

    def _skipped(self) -> str:
        return (
            f"{self.progress.skipped} of {self.progress.step} steps had a loss or gradient that is not finite"
        )

    def _diverged(self, message: str) -> DivergedError:
        return DivergedError(
            message,
            where=f"step {self.progress.step}",
            remedy="Lower train.learningRate, use FP32 or BF16, or look for broken utterances in the report.",
        )

    def _judge(self) -> None:
        self._log()
        found = self.validator.run(self.stop, self.reporter.validating())
        train_mode(self.model)
        if found is None:
            self._leave()  # the validation is made up for on resume
        progress = self.progress
        progress.judged.append(
            Judged(
                step=progress.step,
                epoch=progress.epoch,
                loss=found.loss,
                accuracy=found.accuracy,
                cer=found.cer,
            )
        )
        self.reporter.validated(progress, found, best=progress.is_best(self.params.selection))
        self._save()
        self.meter.read()

    def _save(self) -> None:
        self._log()
        ranks = self.gang.collect(random_state())
        if ranks is None:
            return
        with self.reporter.saving(self.progress.step) as done:
            state = TrainingState(
                weights=to_cpu(self.model.module.state_dict()),
                optimizer=to_cpu(
                    {"optimizer": self.optimizer.state_dict(), "scaler": self.arithmetic.scaler.state_dict()}
                ),
                ranks=ranks,
                progress=self.progress.model_copy(deep=True),
            )
            best = {one.step for one in self.progress.best(self.params.selection)}
            self.checkpoints.save(state, best, done)


def resume(trainer: Trainer, state: TrainingState) -> None:
    """Put a fresh trainer where a checkpoint stands.

    The gang may have another size than the one that saved: then random states are drawn anew.
    """
    trainer.model.module.load_state_dict(state.weights)
    # Whether steps are fused is the device's choice, not the checkpoint's.
    fused = [group["fused"] for group in trainer.optimizer.param_groups]
    trainer.optimizer.load_state_dict(dict(state.optimizer["optimizer"]))
    for group, choice in zip(trainer.optimizer.param_groups, fused, strict=True):
        group["fused"] = choice
    if state.optimizer["scaler"]:
        trainer.arithmetic.scaler.load_state_dict(dict(state.optimizer["scaler"]))
    trainer.progress = state.progress
    if len(state.ranks) == trainer.gang.world:
        restore_random_state(state.ranks[trainer.gang.rank])
