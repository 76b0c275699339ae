"""Counts items and says so, not too often; looks at the stop signal on the way."""

from __future__ import annotations

import time

from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.telemetry.events import Work

_SECONDS = 0.25
"""Between two events."""


class Progress:
    """Progress of a stage over a known number of items.

    Args:
        context: of the stage.
        what: what is done to them: checked, simulated.
        total: how many.
        part: which count of the stage this is, from 1.
        parts: how many counts the stage has.
    """

    def __init__(
        self, context: StageContext, what: str, total: int, *, part: int = 1, parts: int = 1
    ) -> None:
        self._context = context
        self._what = what
        self._total = total
        self._part = part, parts
        self._done = 0
        self._next = 0.0

    def step(self) -> None:
        """One more is done.

        Raises:
            InterruptedRunError: if the run was asked to stop.
        """
        self._done += 1
        if (now := time.monotonic()) < self._next and self._done != self._total:
            return
        self._next = now + _SECONDS
        part, parts = self._part
        self._context.telemetry.emit(
            Work(self._context.stage.name, self._what, self._done, self._total, part=part, parts=parts)
        )
        self._context.stop.check()
