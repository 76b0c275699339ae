"""Confidence intervals by bootstrap over utterances.

After M. Bisani, H. Ney: Bootstrap estimates for confidence intervals in ASR performance evaluation, ICASSP 2004:
utterances are drawn with replacement, each draw's error rate is all edits over all reference units, and the
2.5th and 97.5th percentile bound the interval. For two systems the same draw serves both, so that what is
common to them (a hard utterance) cancels out.

Intervals of few utterances are too short, that of one has no width: `asrtune_api.scores.LEAST_UTTERANCES` says how
many there must be before anything is concluded from one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
_CELLS = 1 << 22  # draws x utterances held at once: 32 MiB

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, percent."""

    low: float
    high: float

    def negated(self) -> Interval:
        """The interval of the negative value."""
        return Interval(-self.high, -self.low)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much lower the error rate of the second system is."""

    gain: float
    """Rate of the first minus rate of the second, percentage points: positive is better."""
    interval: Interval
    """Of the gain."""
    probability: float
    """Share of draws in which the second system makes fewer errors (Bisani & Ney's probability of improvement)."""


def interval(edits: Counts, lengths: Counts, *, samples: int, seed: int) -> Interval:
    """Interval of an error rate; edits and lengths are by utterance, [utterances]."""
    rates = _rates(np.stack([edits]), lengths, samples, seed)[0]
    return _percentiles(rates)


def difference(first: Counts, second: Counts, lengths: Counts, *, samples: int, seed: int) -> Difference:
    """Paired comparison of two systems on the same utterances; all arrays are [utterances]."""
    rates = _rates(np.stack([first, second]), lengths, samples, seed)
    total = max(1, int(lengths.sum()))
    return Difference(
        gain=100.0 * float(first.sum() - second.sum()) / total,
        interval=_percentiles(rates[0] - rates[1]),
        probability=float(np.mean(rates[1] < rates[0])),
    )


def _rates(edits: Counts, lengths: Counts, samples: int, seed: int) -> npt.NDArray[np.float64]:
    """Error rates in percent of each system and draw, [systems, samples], for edits [systems, utterances]."""
    systems, utterances = edits.shape
    rates = np.zeros((systems, samples))
    if utterances == 0:
        return rates
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // utterances)
    for start in range(0, samples, step):
        size = min(step, samples - start)
        drawn = generator.integers(utterances, size=(size, utterances))
        total = np.maximum(1, lengths[drawn].sum(axis=1))
        rates[:, start : start + size] = [100.0 * row[drawn].sum(axis=1) / total for row in edits]
    return rates


def _percentiles(values: npt.NDArray[np.float64]) -> Interval:
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return Interval(float(low), float(high))
