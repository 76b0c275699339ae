"""Keeps the store up to date: the first list, the watches, new kinds, and the lists from time to time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kubernetes.aio.client import Configuration

from asrtune_operator.follow.discovery import discover
from asrtune_operator.follow.resync import SELECTORS, Resync, read, wanted
from asrtune_operator.follow.streams import Streams
from asrtune_operator.kube.client import ApiError, ApiUnreachableError, Client
from asrtune_operator.settings import Settings
from asrtune_operator.state.objects import Kept
from asrtune_operator.state.store import Store
from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.health import Pulse, now
from asrtune_operator.telemetry.metrics import Metrics
from asrtune_operator.understand.understanding import Understanding
from asrtune_operator.values.kinds import Resource

_log = logging.getLogger(__name__)
_TICK = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What the follower reads from and writes to."""

    configuration: Configuration
    client: Client
    store: Store
    queue: WorkQueue
    understanding: Understanding
    metrics: Metrics
    pulse: Pulse
    settings: Settings


class Follower:
    """From `start` to `stop` the store follows the cluster, and each run with news is queued."""

    def __init__(self, surface: Surface) -> None:
        self._on = surface
        self._resync = Resync(surface.client, surface.store, surface.settings.namespaces, self._enqueue)
        self._served: frozenset[Resource] = frozenset()
        self._streams: Streams | None = None
        self._resynced = self._discovered = float("-inf")

    async def start(self) -> None:
        """Returns when everything is known and watched.

        Raises:
            ApiError: the API server refuses a list: a right is missing.
            ApiUnreachableError: no answer.
        """
        self._served = await discover(self._on.client)
        self._on.understanding.serve(self._served)
        await self._list_and_watch()

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._tend()
            except (ApiError, ApiUnreachableError) as error:
                _log.warning("the cluster could not be listed; trying again", extra={"error": str(error)})
                await asyncio.sleep(5 * _TICK)

    async def stop(self) -> None:
        """End the watches; the process ends next, so nobody waits for them to close."""
        if self._streams is not None:
            await self._streams.stop(_TICK / 2)

    async def _tend(self) -> None:
        settings = self._on.settings
        if self._streams is not None and self._streams.alive:
            self._on.pulse.streaming = now()
        else:
            await self._list_and_watch()
        if now() - self._discovered >= settings.discovery_seconds:
            await self._look_for_kinds()
        if now() - self._resynced >= settings.resync_seconds:
            await self._list()

    async def _look_for_kinds(self) -> None:
        found = await discover(self._on.client)
        self._discovered = now()
        before, self._served = set(wanted(self._served)), found
        self._on.understanding.serve(found)
        if before != set(wanted(found)):
            changed = sorted(kind.kind for kind in before ^ set(wanted(found)))
            _log.info("kinds have appeared or gone", extra={"kinds": changed})
            await self._list_and_watch()
            self._enqueue(run.uid for run in self._on.store.runs())

    async def _list(self) -> frozenset[Resource]:
        kinds = await self._resync.run(self._served)
        self._resynced = self._on.pulse.resync = now()
        return kinds

    async def _list_and_watch(self) -> None:
        """The new watches begin before the old ones end: an event that comes twice does no harm."""
        old, kinds = self._streams, await self._list()
        self._discovered = now()
        loop = asyncio.get_running_loop()
        self._streams = Streams(
            self._on.configuration,
            kinds,
            {kind: selector for kind, selector in SELECTORS.items() if kind in kinds},
            self._on.settings.namespaces,
            _thread_safe(loop, self._on_event),
        )
        self._streams.start()
        if old is None:
            self._on.pulse.streaming = now()
        else:  # whether the new ones live shows when they are looked at next
            await old.stop()

    def _on_event(self, kind: Resource, kept: Kept, gone: bool) -> None:  # noqa: FBT001 (a callback's)
        self._on.pulse.event = now()
        self._on.metrics.events.labels(kind.plural).inc()
        store = self._on.store
        self._enqueue(store.bury(kind, kept) if gone else store.put(kind, kept))

    def _enqueue(self, uids: Iterable[str]) -> None:
        for uid in uids:
            run = self._on.store.run(uid)
            new = run is not None and not run.status and not self._on.store.has_children(uid)
            self._on.queue.add(uid, urgent=new)


def _thread_safe(
    loop: asyncio.AbstractEventLoop, sink: Callable[[Resource, Kept, bool], None]
) -> Callable[[Resource, Any, bool], None]:
    """A sink for another thread; what is kept of an object is taken there, the rest never comes here."""

    def on_event(kind: Resource, manifest: Any, gone: bool) -> None:  # noqa: FBT001 (a callback's)
        if (kept := read(kind, manifest)) is not None:
            loop.call_soon_threadsafe(sink, kind, kept, gone)

    return on_event
