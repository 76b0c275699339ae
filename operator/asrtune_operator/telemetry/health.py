"""Serves /metrics, /healthz and /readyz from the event loop itself: a loop that hangs answers nobody."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.metrics import Figures


@dataclass(slots=True)
class Pulse:
    """When something happened last, by the loop's clock.

    Attributes:
        queue: whose keys must get their turn.
        stuck_seconds: what is too old.
        event: the last event from a watch.
        reconcile: the last look at a run.
        resync: the last complete list; None before the first.
        streaming: when the watches ran last.
        leading: whether this replica works, or waits for the lease.
    """

    queue: WorkQueue
    stuck_seconds: float
    event: float | None = None
    reconcile: float | None = None
    resync: float | None = None
    streaming: float = field(default_factory=lambda: now())  # noqa: PLW0108 (defined below)
    leading: bool = False

    def problems(self) -> list[str]:
        """What is wrong; none in good health."""
        if not self.leading:
            return []
        found = []
        # A long line alone is no reason to be killed: that would make it longer.
        idle = now() - self.reconcile if self.reconcile is not None else float("inf")
        if min(idle, self.queue.state.oldest_seconds) > self.stuck_seconds:
            found.append(f"runs wait for their turn, but none had one for {self.stuck_seconds:.0f} s")
        if (down := now() - self.streaming) > self.stuck_seconds:
            found.append(f"the watches have been down for {down:.0f} s")
        return found

    def figures(self) -> Figures:
        """What /metrics says of it: times rather than ages, so that they stay true between two scrapes."""
        return {
            "leading": ("1 while this replica works, 0 while it waits for the lease.", lambda: self.leading),
            "last_event_timestamp_seconds": ("When a watch last had news.", lambda: _unix(self.event)),
            "last_reconcile_timestamp_seconds": (
                "When a look at a run ended last.",
                lambda: _unix(self.reconcile),
            ),
            "last_resync_timestamp_seconds": ("When all was listed last.", lambda: _unix(self.resync)),
        }

    def report(self) -> str:
        """The ages, for people."""
        ages = {"last event": self.event, "last reconcile": self.reconcile, "last resync": self.resync}
        told = [
            f"{name}: {'never' if at is None else f'{now() - at:.1f} s ago'}" for name, at in ages.items()
        ]
        return "\n".join([*told, f"leading: {str(self.leading).lower()}"])


@contextlib.asynccontextmanager
async def serve(pulse: Pulse, registry: CollectorRegistry, host: str, port: int) -> AsyncIterator[None]:
    """Serve as long as the block runs.

    Raises:
        OSError: the port is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        problems = pulse.problems()
        return web.Response(text="\n".join([*problems, pulse.report(), ""]), status=503 if problems else 200)

    async def readyz(_: web.Request) -> web.Response:
        ready = not pulse.leading or pulse.resync is not None  # who waits for the lease is ready to take over
        return web.Response(
            text="ready\n" if ready else "the first list is not complete\n", status=200 if ready else 503
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


def _unix(at: float | None) -> float | None:
    """A moment by the loop's clock as unix seconds."""
    return None if at is None else time.time() - (now() - at)


def now() -> float:
    """The loop's clock."""
    return asyncio.get_running_loop().time()
