"""Takes runs from the queue and looks at them. What fails is tried again later, and disturbs no other run."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from asrtune_operator.kube.client import ApiError, ApiUnreachableError
from asrtune_operator.state.store import Store
from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.health import Pulse, now
from asrtune_operator.telemetry.metrics import Metrics
from asrtune_operator.work.reconcile import Reconciler

_log = logging.getLogger(__name__)
LONGEST: Final = 120.0
"""Seconds that one look may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What a worker needs."""

    queue: WorkQueue
    store: Store
    reconciler: Reconciler
    metrics: Metrics
    pulse: Pulse

    async def run(self, count: int) -> None:
        """Work for ever, on so many runs at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            uid = await self.queue.get()
            run = self.store.run(uid)
            kind = run.identity.kind if run else ""
            started = time.monotonic()
            try:
                async with asyncio.timeout(LONGEST):
                    after = await self.reconciler.reconcile(uid)
            except Exception as error:  # noqa: BLE001 (whatever it is, the others go on)
                self._failed(uid, kind, error)
            else:
                self.queue.done(uid)
                if after is not None:
                    self.queue.add_after(uid, after)
            if self.store.run(uid) is None:
                self.queue.forget(uid)
            if run is not None:
                self.metrics.reconciles.labels(kind).observe(time.monotonic() - started)
            self.pulse.reconcile = now()

    def _failed(self, uid: str, kind: str, error: Exception) -> None:
        delay = self.queue.fail(uid)
        self.metrics.errors.labels(kind, type(error).__name__).inc()
        run = self.store.run(uid)
        name = f"{run.identity.namespace}/{run.identity.name}" if run else uid
        expected = isinstance(error, ApiError | ApiUnreachableError | TimeoutError)
        _log.log(
            logging.WARNING if expected else logging.ERROR,
            "a look at a run has failed; trying again",
            exc_info=None if expected else error,
            extra={"run": name, "error": repr(error), "delay": round(delay, 1)},
        )
