"""The work queue: which run is looked at next. One task a key at a time, nothing twice, errors back off."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import OrderedDict
from dataclasses import dataclass

FIRST_DELAY = 0.5
"""Seconds before the first retry of a key that failed."""
LONGEST_DELAY = 120.0
"""Seconds that no retry waits longer than."""
URGENT_SHARE = 3
"""Of so many and one turns, the one is for what is not urgent: many new runs must not starve the old ones."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How busy the queue is, for metrics and health.

    Attributes:
        waiting: keys that could be worked on now.
        active: keys that are being worked on.
        delayed: keys that wait for a time.
        oldest_seconds: how long the oldest of the waiting has waited.
    """

    waiting: int
    active: int
    delayed: int
    oldest_seconds: float


class WorkQueue:
    """Keys to be worked on. For one event loop; no method blocks but `get`."""

    def __init__(self) -> None:
        self._urgent: OrderedDict[str, float] = OrderedDict()
        self._normal: OrderedDict[str, float] = OrderedDict()
        self._active: set[str] = set()
        self._again: dict[str, bool] = {}  # added while active; the value: urgent
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._failures: dict[str, int] = {}
        self._numbers = itertools.count()
        self._turn = 0
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: str, *, urgent: bool = False) -> None:
        """Work on a key as soon as possible; again after the work under way, if there is any."""
        if key in self._active:
            self._again[key] = urgent or self._again.get(key, False)
            return
        since = self._normal.pop(key, None) if urgent else None
        if key not in self._urgent and key not in self._normal:
            line = self._urgent if urgent else self._normal
            line[key] = asyncio.get_running_loop().time() if since is None else since
        self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Work on a key after some time, unless an earlier time is set already."""
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._numbers), key))
            self._set_timer()

    async def get(self) -> str:
        """The next key. Its delays are forgotten: the work says anew when to look again."""
        while not (self._urgent or self._normal):
            self._wake.clear()
            await self._wake.wait()
        self._turn = (self._turn + 1) % (URGENT_SHARE + 1)
        first, second = (self._urgent, self._normal) if self._turn else (self._normal, self._urgent)
        key, _ = (first or second).popitem(last=False)
        self._active.add(key)
        self._due.pop(key, None)
        return key

    def done(self, key: str) -> None:
        """The work on a key went well."""
        self._failures.pop(key, None)
        self._finish(key)

    def fail(self, key: str) -> float:
        """The work on a key failed: it is tried again after a time that doubles. Returns those seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(FIRST_DELAY * 2.0**failures, LONGEST_DELAY) * random.uniform(0.8, 1.2)  # noqa: S311
        self._again.pop(
            key, None
        )  # an event does not cut the back-off short: a broken run must not take all turns
        self._finish(key)
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        """A key is gone for good."""
        for held in (self._urgent, self._normal, self._due, self._failures, self._again):
            held.pop(key, None)

    @property
    def state(self) -> QueueState:
        """How busy it is."""
        oldest = min(
            (next(iter(line.values())) for line in (self._urgent, self._normal) if line), default=None
        )
        return QueueState(
            waiting=len(self._urgent) + len(self._normal),
            active=len(self._active),
            delayed=len(self._due),
            oldest_seconds=0.0 if oldest is None else asyncio.get_running_loop().time() - oldest,
        )

    def _finish(self, key: str) -> None:
        self._active.discard(key)
        if key in self._again:
            self.add(key, urgent=self._again.pop(key))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._on_time)

    def _on_time(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:  # else it was set to another time, or done since
                del self._due[key]
                self.add(key)
        self._set_timer()
