"""Asks rank 0 of every running attempt how far it is."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp
from pydantic import ValidationError

from asrtune_api.progress import ProgressDocument
from asrtune_operator.state.store import Store
from asrtune_operator.understand.understanding import Understanding
from asrtune_operator.values.observed import PodView, ProgressView
from asrtune_operator.work.reconcile import Reconciler

_log = logging.getLogger(__name__)
TIMEOUT: Final = aiohttp.ClientTimeout(total=2)
AT_ONCE: Final = 32
LONGEST: Final = 256 * 1024
"""Bytes of an answer that are read: a pod may say anything."""
LONGEST_PAUSE: Final = 60.0
"""Seconds that a pod that does not answer is left alone at most."""
_ERRORS: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError, ValidationError)


@dataclass(frozen=True, slots=True)
class _Target:
    uid: str
    pod: PodView
    port: int


class ProgressReader:
    """Polls; what is new is remembered, and the run looked at."""

    def __init__(
        self,
        store: Store,
        understanding: Understanding,
        reconciler: Reconciler,
        on_change: Callable[[str], None],
    ) -> None:
        self._store = store
        self._understanding = understanding
        self._reconciler = reconciler
        self._on_change = on_change
        self._silent: dict[str, tuple[int, float]] = {}  # pod's uid -> how often it was silent, until when

    async def run(self, period: float) -> None:
        """Poll for ever, every `period` seconds."""
        connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            while True:
                started = _clock()
                targets = [
                    one for one in self._targets() if self._silent.get(one.pod.uid, (0, 0))[1] <= started
                ]
                await asyncio.gather(*(self._ask(session, one) for one in targets))
                alive = {one.pod.uid for one in self._targets()}
                self._silent = {uid: value for uid, value in self._silent.items() if uid in alive}
                await asyncio.sleep(max(0.1, period - (_clock() - started)))

    def _targets(self) -> Iterator[_Target]:
        for run in self._store.runs():
            known = self._understanding.known(run.uid)
            port = known.spec.telemetry.port if known is not None else None
            first = [pod for pod in self._store.pods(run.uid) if pod.running and pod.ip and not pod.rank]
            if port and first:
                yield _Target(run.uid, first[-1], port)

    async def _ask(self, session: aiohttp.ClientSession, target: _Target) -> None:
        try:
            document = await _fetch(session, target)
        except _ERRORS as error:
            times = self._silent.get(target.pod.uid, (0, 0.0))[0] + 1
            self._silent[target.pod.uid] = (times, _clock() + min(2.0**times, LONGEST_PAUSE))
            _log.debug("no progress to be read", extra={"pod": target.pod.name, "error": repr(error)})
            return
        self._silent.pop(target.pod.uid, None)
        memory = self._reconciler.memory(target.uid)
        before, now = memory.progress, datetime.now(UTC)
        if before is None or (before.stage, before.attempt) != (target.pod.stage, target.pod.attempt):
            before, memory.progress = None, ProgressView(target.pod.stage, target.pod.attempt, document, now)
        else:
            memory.progress = before.followed_by(document, now)
        if before is None or before.document != document:
            self._on_change(target.uid)


async def _fetch(session: aiohttp.ClientSession, target: _Target) -> ProgressDocument:
    host = f"[{target.pod.ip}]" if ":" in target.pod.ip else target.pod.ip
    url = f"http://{host}:{target.port}/progress"
    async with session.get(url, allow_redirects=False, raise_for_status=True) as answer:
        text = b""
        while len(text) <= LONGEST and (chunk := await answer.content.read(LONGEST)):
            text += chunk
    return ProgressDocument.model_validate(json.loads(text))


def _clock() -> float:
    return asyncio.get_running_loop().time()
