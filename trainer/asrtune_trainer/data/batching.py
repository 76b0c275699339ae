"""Length-bucketed batches: every utterance exactly as often as its weight says, equal steps on every rank.

The order is a pure function of (utterances, parameters, gang, seed, epoch): a resumed run asks for the
same epoch and skips what it has seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asrtune_api.stages import BatchParams, BatchUnit
from asrtune_trainer.data.utterance import Utterance

LENGTH_JITTER = 0.1
"""Relative jitter of the sort key: neighbours change from epoch to epoch at the cost of a little padding."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Sizes of the utterances, as arrays [utterances]."""

    frames: Indices
    tokens: Indices
    set: Indices
    """Index of the data source."""

    @classmethod
    def of(cls, utterances: Sequence[Utterance], sets: Sequence[str]) -> Lengths:
        order = {name: index for index, name in enumerate(sets)}
        return cls(
            frames=np.array([u.source_len for u in utterances], dtype=np.int64),
            tokens=np.array([u.target_len for u in utterances], dtype=np.int64),
            set=np.array([order[u.set] for u in utterances], dtype=np.int64),
        )

    def cost(self, unit: BatchUnit) -> Indices:
        """What each utterance counts in a batch, before padding."""
        match unit:
            case BatchUnit.FRAMES:
                return self.frames
            case BatchUnit.TOKENS:
                return self.frames + self.tokens
            case BatchUnit.UTTERANCES:
                return np.ones_like(self.frames)


@dataclass(frozen=True)
class Batching:
    """How one gang's batches are formed."""

    lengths: Lengths
    weights: Sequence[int]
    """Percent by data source: 100 takes each utterance once an epoch."""
    params: BatchParams
    seed: int
    world: int = 1

    def oversized(self) -> Indices:
        """Utterances that fit into no batch: they must be rejected before training."""
        return np.flatnonzero(self.lengths.cost(self.params.unit) > self.params.size)

    def epoch(self, epoch: int) -> list[list[Indices]]:
        """Groups of `world` batches, one a rank, in training order.

        Ranks of a group get batches of similar length, so that none waits long for another.

        Raises:
            ValueError: if an utterance is larger than a batch, or there are none.
        """
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, epoch])))
        chosen = self._draw(rng)
        cost = self.lengths.cost(self.params.unit)
        if not len(chosen):
            raise ValueError("no utterances to train on")
        if int(cost[chosen].max()) > self.params.size:
            raise ValueError("an utterance is larger than a batch")
        length = self.lengths.frames[chosen]
        order = np.argsort(length * (1 + LENGTH_JITTER * rng.random(len(chosen))), kind="stable")
        batches = self._cut(chosen[order], cost)
        batches = _fill(batches, self.world, rng)
        groups = [batches[start : start + self.world] for start in range(0, len(batches), self.world)]
        return [groups[index] for index in rng.permutation(len(groups))]

    def padding_percent(self, batches: Sequence[Indices]) -> float:
        """Share of padding among the frames of these batches."""
        padded = sum(int(self.lengths.frames[batch].max()) * len(batch) for batch in batches)
        real = sum(int(self.lengths.frames[batch].sum()) for batch in batches)
        return 100.0 * (1 - real / padded) if padded else 0.0

    def _draw(self, rng: np.random.Generator) -> Indices:
        parts: list[Indices] = []
        for index, weight in enumerate(self.weights):
            members = np.flatnonzero(self.lengths.set == index)
            parts += [members] * (weight // 100)
            if rest := round(len(members) * (weight % 100) / 100):
                parts.append(np.sort(rng.permutation(members)[:rest]))
        return np.concatenate(parts) if parts else np.array([], dtype=np.int64)

    def _cut(self, ordered: Indices, cost: Indices) -> list[Indices]:
        """Consecutive runs whose padded size (largest cost x count) stays within the limits."""
        batches: list[Indices] = []
        start, largest = 0, 0
        for position, value in enumerate(cost[ordered].tolist()):
            grown = max(largest, value)
            count = position - start + 1
            if grown * count > self.params.size or count > self.params.max_utterances:
                batches.append(ordered[start:position])
                start, grown = position, value
            largest = grown
        batches.append(ordered[start:])
        return batches


def _fill(batches: list[Indices], multiple: int, rng: np.random.Generator) -> list[Indices]:
    """Make the number of batches a multiple by halving the largest; repeat whole ones only if nothing can be halved."""
    missing = -len(batches) % multiple
    while missing:
        sizes = np.array([len(batch) for batch in batches])
        halved = set(np.argsort(-sizes, kind="stable")[:missing].tolist()) & set(
            np.flatnonzero(sizes > 1).tolist()
        )
        if not halved:
            batches += [batches[index] for index in rng.integers(len(batches), size=missing)]
            break
        batches = [
            part
            for index, batch in enumerate(batches)
            for part in (
                (batch[: len(batch) // 2], batch[len(batch) // 2 :]) if index in halved else (batch,)
            )
        ]
        missing -= len(halved)
    return batches


def weights_of(sets: Sequence[str], percent: Mapping[str, int]) -> list[int]:
    """Weights in the order of the sets; a set that the manifest does not weigh counts once."""
    return [percent.get(name, 100) for name in sets]
