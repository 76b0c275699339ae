"""Validation: loss and accuracy over all of the set, CER over a part of it, shared out among the ranks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asrtune_api.stages import BatchParams
from asrtune_trainer.data.batching import Indices, Lengths
from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.scoring import Scoring, count_errors
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.feed import Feed
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.precision import Arithmetic

Told = Callable[[int, int], None]
"""Hears how many batches are done, of how many."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What a validation found."""

    loss: float
    accuracy: float | None
    cer: float | None
    """Percent, corpus level."""
    seconds: float


class Validator:
    """Validates a model on a fixed set.

    Args:
        model: in training; its random state and mode are left as they were found.
        utterances: the validation set.
        feed: over these utterances.
        batch: limits of a batch; an utterance larger than it makes a batch of its own.
        decode: how many utterances to decode.
        gang: each rank takes every world-th batch.
        arithmetic: as in training.
    """

    def __init__(
        self,
        model: SpeechModel,
        utterances: Sequence[Utterance],
        feed: Feed,
        *,
        batch: BatchParams,
        decode: int,
        gang: Gang,
        arithmetic: Arithmetic,
    ) -> None:
        self._model = model
        self._utterances = utterances
        self._feed = feed
        self._gang = gang
        self._arithmetic = arithmetic
        lengths = Lengths.of(utterances, sorted({one.set for one in utterances}))
        order = np.argsort(lengths.frames, kind="stable")
        self._loss_order = _cut(order, lengths.cost(batch.unit), batch)[gang.rank :: gang.world]
        # Evenly spread over the lengths, so that a part stands for the whole.
        spread = order[np.unique(np.linspace(0, len(order) - 1, min(decode, len(order))).round().astype(int))]
        decoded = _cut(spread, lengths.cost(batch.unit), batch) if decode else []
        self._decode_order = decoded[gang.rank :: gang.world]

    @torch.no_grad()
    def run(self, stop: StopSignal, told: Told) -> Validation | None:
        """Validate now. The same on every rank; None if one of them was asked to stop meanwhile.

        Args:
            stop: looked at between batches.
            told: called after each batch of this rank with how many are done, and how many there are.
        """
        started = time.monotonic()
        total = len(self._loss_order) + len(self._decode_order)
        done = itertools.count(1)

        def after_batch() -> None:
            told(next(done), total)

        module = self._model.module
        devices = [self._gang.device] if self._gang.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # Families draw at random in forward; a fixed seed makes validations comparable.
            torch.manual_seed(0)
            module.eval()
            loss, weight, accuracy, batches = self._losses(stop, after_batch)
            edits, length = self._errors(stop, after_batch)
        if self._gang.any(bool(stop)):
            return None
        loss, weight, accuracy, batches, edits, length = self._gang.sum(
            [loss, weight, accuracy, batches, edits, length]
        )
        return Validation(
            loss=loss / weight if weight else float("nan"),
            accuracy=accuracy / batches if batches else None,
            cer=100 * edits / length if length else None,
            seconds=time.monotonic() - started,
        )

    def _losses(self, stop: StopSignal, after_batch: Callable[[], None]) -> tuple[float, float, float, float]:
        sums = torch.zeros(4, dtype=torch.float64, device=self._gang.device)
        for loaded in self._feed.batches(self._loss_order):
            if stop:
                break
            with self._arithmetic.autocast():
                result = self._model.forward(self._model.module, loaded.batch)
            weight = result.weight.double().reshape(())
            sums[0] += result.loss.double() * weight
            sums[1] += weight
            if (accuracy := result.stats.get("acc")) is not None:
                sums[2] += accuracy.double().mean() * weight
                sums[3] += weight
            after_batch()
        loss, weight_sum, accuracy_sum, accuracies = sums.tolist()
        return loss, weight_sum, accuracy_sum, accuracies

    def _errors(self, stop: StopSignal, after_batch: Callable[[], None]) -> tuple[float, float]:
        edits = length = 0
        scoring = Scoring()
        for indices in self._decode_order:
            if stop:
                break
            chosen = indices.tolist()
            features = [self._feed.sample(index).features.to(self._gang.device) for index in chosen]
            with self._arithmetic.autocast():
                texts = self._model.decode(features, [self._utterances[index].language for index in chosen])
            for index, text in zip(chosen, texts, strict=True):
                errors = count_errors(self._utterances[index].target, text, scoring)
                edits += errors.edits
                length += errors.reference_length
            after_batch()
        return float(edits), float(length)


def _cut(order: Indices, cost: Indices, limits: BatchParams) -> list[Indices]:
    """Consecutive runs within the limits; order is by length, so the last one of a run is the largest."""
    batches: list[list[int]] = []
    for index in order.tolist():
        size = int(cost[index])
        if (
            batches
            and size * (len(batches[-1]) + 1) <= limits.size
            and len(batches[-1]) < limits.max_utterances
        ):
            batches[-1].append(index)
        else:
            batches.append([index])
    return [np.array(batch, dtype=np.int64) for batch in batches]
