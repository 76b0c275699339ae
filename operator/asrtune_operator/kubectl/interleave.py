"""The logs of several pods as one, by time."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_TIME: Final = re.compile(
    r"(?P<whole>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.(?P<part>\d{1,9}))?(?P<zone>Z|[+-]\d\d:\d\d)"
)
_BUFFER: Final = 1000
"""Lines of a pod that may wait for the others'; then the pod's log is read no further."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log, and when it was written, in nanoseconds of unix time."""

    time: int
    text: str


def parse_line(raw: str, last: int = 0) -> Line:
    """A line as a node gives it, with its time in front in the zone of the node; without one it is as old as `last`."""
    stamp, _, text = raw.partition(" ")
    found = _TIME.fullmatch(stamp)
    if found is None:
        return Line(last, raw)
    seconds = int(datetime.fromisoformat(found["whole"] + found["zone"]).timestamp())
    return Line(seconds * 10**9 + int((found["part"] or "0").ljust(9, "0")), text)


@dataclass(slots=True)
class _Feed:
    rank: int
    queue: asyncio.Queue[tuple[float, Line] | None] = field(default_factory=lambda: asyncio.Queue(_BUFFER))
    head: tuple[float, Line] | None = None
    ended: bool = False

    def fill(self) -> None:
        if self.head is None and not self.ended and not self.queue.empty():
            self.head = self.queue.get_nowait()
            self.ended = self.head is None

    @property
    def silent(self) -> bool:
        return self.head is None and not self.ended


async def interleave(
    sources: Mapping[int, AsyncIterator[Line]], *, hold: float | None = None
) -> AsyncIterator[tuple[int, Line]]:
    """All lines, each with its source's number; those of one source stay in their order.

    Args:
        sources: logs by rank, each in the order of time.
        hold: seconds that a line waits for an earlier one of a silent source; None: for ever, which is right for logs
            that are complete.

    Raises:
        Exception: what a source raised, after the lines of the others.
    """
    clock = asyncio.get_running_loop().time
    news = asyncio.Event()
    feeds = [_Feed(rank) for rank in sorted(sources)]
    readers = [asyncio.create_task(_read(sources[feed.rank], feed, news)) for feed in feeds]
    try:
        while True:
            news.clear()
            for feed in feeds:
                feed.fill()
            first = min(feeds, key=_oldest, default=None)
            if first is None or (first.head is None and all(feed.ended for feed in feeds)):
                break
            patience = None if hold is None or first.head is None else first.head[0] + hold - clock()
            due = patience is not None and patience <= 0
            if first.head is not None and (due or not any(feed.silent for feed in feeds)):
                yield first.rank, first.head[1]
                first.head = None
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), patience)
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


def _oldest(feed: _Feed) -> tuple[bool, int, int]:
    """A feed that has a line goes before one that has none."""
    return (True, 0, feed.rank) if feed.head is None else (False, feed.head[1].time, feed.rank)


async def _read(source: AsyncIterator[Line], feed: _Feed, news: asyncio.Event) -> None:
    clock = asyncio.get_running_loop().time
    failure: Exception | None = None
    try:
        async for line in source:
            await feed.queue.put((clock(), line))
            news.set()
    except Exception as error:  # noqa: BLE001 (told when all lines are out)
        failure = error
    await feed.queue.put(None)
    news.set()
    if failure is not None:
        raise failure
