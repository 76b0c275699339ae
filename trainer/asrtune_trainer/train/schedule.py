"""Learning rate as a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from asrtune_api.stages import Schedule, TrainParams

DEFAULT_WARMUP_SHARE = 0.1
DEFAULT_WARMUP_LIMIT = 1000
FLOOR = 0.02
"""Cosine and linear schedules end at this share of the peak, so that the last epoch still learns."""


@dataclass(frozen=True, slots=True)
class LearningRate:
    """Linear warm-up to the peak, then the schedule."""

    peak: float
    warmup: int
    total: int
    schedule: Schedule

    @classmethod
    def of(cls, params: TrainParams, total_steps: int) -> LearningRate:
        """Warm-up that fits the run: as asked, or a tenth of it; never more than half."""
        asked = params.warmup_steps
        if asked is None:
            asked = min(round(total_steps * DEFAULT_WARMUP_SHARE), DEFAULT_WARMUP_LIMIT)
        return cls(params.learning_rate, max(1, min(asked, total_steps // 2)), total_steps, params.schedule)

    def at(self, step: int) -> float:
        """Learning rate of the step that follows `step` finished ones.

        InverseSquareRoot is FunASR's `warmuplr`: peak * warmup^0.5 * min(n^-0.5, n * warmup^-1.5), n = step + 1.
        """
        number = step + 1
        if number <= self.warmup:
            return self.peak * (number / self.warmup)
        done = min(1.0, (number - self.warmup) / max(1, self.total - self.warmup))
        match self.schedule:
            case Schedule.CONSTANT:
                return self.peak
            case Schedule.INVERSE_SQUARE_ROOT:
                return self.peak * math.sqrt(self.warmup / number)
            case Schedule.LINEAR:
                return self.peak * max(FLOOR, 1 - done)
            case Schedule.COSINE:
                return self.peak * max(FLOOR, 0.5 * (1 + math.cos(math.pi * done)))
