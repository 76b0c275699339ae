"""Words that do not flutter: each change is a write, and a thousand runs may wait for the same GPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from asrtune_operator.values.observed import Wait

FREE_CHANGES: Final = 3
"""The first words are often not the best yet: nodes were listed before the pods came, Kueue had not looked."""
PAUSE: Final = timedelta(seconds=30)
FORGET: Final = timedelta(minutes=10)
MANY: Final = 1000


@dataclass(frozen=True, slots=True)
class _Said:
    wait: Wait
    at: datetime
    changes: int = 0


class Wording:
    """What was said last of each wait."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def steady(self, uid: str, wait: Wait | None, now: datetime) -> Wait | None:
        """The wait; with the words of before if the reason is the same and they have been changed a moment ago.

        Args:
            uid: of what waits.
            wait: why; None when it does not wait.
            now: the time.
        """
        if wait is None:
            self._said.pop(uid, None)
            return None
        before = self._said.get(uid)
        if before is None or before.wait.reason is not wait.reason:
            self._forget(now)
            self._said[uid] = _Said(wait, now)
        elif before.wait != wait:
            if before.changes >= FREE_CHANGES and now - before.at < PAUSE:
                return before.wait
            self._said[uid] = replace(before, wait=wait, at=now, changes=before.changes + 1)
        return wait

    def _forget(self, now: datetime) -> None:
        """Workloads end without a word; what is not said for long is forgotten, and at worst said anew."""
        if len(self._said) >= MANY:
            self._said = {uid: one for uid, one in self._said.items() if now - one.at < FORGET}
