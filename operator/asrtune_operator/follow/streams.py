"""Watches: kopf streams the events of every kind into a sink. No handler decides or waits, nothing is written back.

kopf has a thread and an event loop of its own: it can be stopped and started when kinds appear or a stream fails for
good, without taking anything else with it (kopf cancels every task of its loop when it ends).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import kopf
from kubernetes.aio.client import Configuration

from asrtune_operator.kube.credentials import open_session
from asrtune_operator.values.kinds import Resource

Json = Mapping[str, Any]
OnEvent = Callable[[Resource, Json, bool], None]
"""Called with an object's kind, its manifest, and whether it is gone. In kopf's thread."""

PAGE: Final = 500
_BACKOFFS: Final = (0.2, 0.5, 1, 2, 3, 5, 5, 5, 5, 5, 5, 5)
_END_SECONDS: Final = 10
_IDENTITY: Final = "asrtune-operator"
_log = logging.getLogger(__name__)


class Streams:
    """The watches of some kinds, from `start` to `stop`."""

    def __init__(
        self,
        configuration: Configuration,
        kinds: Collection[Resource],
        selectors: Mapping[Resource, str],
        namespaces: Sequence[str],
        on_event: OnEvent,
    ) -> None:
        self.kinds = frozenset(kinds)
        self._configuration = configuration
        self._selectors = selectors
        self._namespaces = namespaces
        self._on_event = on_event
        self._stop: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)

    def start(self) -> None:
        """Begin to watch; each kind is listed first."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False once a stream has failed for good."""
        return self._thread.is_alive() and not self._stop.done()

    async def stop(self, patience: float = 15) -> None:
        """End the watches. kopf takes a while to close its streams; what they still bring is dropped."""
        self._end()
        await asyncio.to_thread(self._thread.join, patience)

    def _end(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception:  # noqa: BLE001 (whatever it is: the follower starts them again)
            _log.exception("the watches have ended; they are started again")
        finally:
            self._end()

    async def _watch(self) -> None:
        """Until they are to end, or one has failed: kopf may wait for ever then for another that missed its end."""
        mine = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._settings(),
            # Unset, kopf asks for the user's name, which a container's user has none of.
            identity=_IDENTITY,  # type: ignore[arg-type]  # a NewType that kopf keeps to itself
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self._end()
        async with asyncio.timeout(_END_SECONDS):
            await kopf.run_tasks(tasks, ignored=mine)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._log_in)
        for kind in self.kinds:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(self._handler(kind))
        return registry

    def _handler(self, kind: Resource) -> Callable[..., Any]:
        async def handle(event: Json, **_: Any) -> None:
            if not self._stop.done():
                self._on_event(kind, event["object"], event["type"] == "DELETED")

        return handle

    async def _log_in(self, **_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(
            server=self._configuration.host, aiohttp_session=open_session(self._configuration)
        )

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True  # `discovery.py` finds new kinds, without a right to read CRDs
        settings.persistence.diffbase_storage = _NoMemory()
        settings.queueing.idle_timeout = 0.1  # a task for each object is kept no longer than that
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 5
        settings.networking.error_backoffs = _BACKOFFS
        settings.watching.chunk_size = PAGE
        settings.watching.connect_timeout = 5
        for kind, selector in self._selectors.items():
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = selector
        return settings


class _NoMemory(kopf.DiffBaseStorage):
    """Spares the copy of each object that kopf makes for handlers of changes, which there are none of."""

    def build(self, **_: Any) -> Any:
        """Nothing."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Nothing."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing."""
