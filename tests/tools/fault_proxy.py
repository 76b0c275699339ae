"""An HTTP proxy before the API server: it spoils some answers, as a troubled server does, and drops watches."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

_REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection"}
_WRITES = {"POST", "PUT", "PATCH", "DELETE"}


@dataclass
class FaultProxy:
    """Forwards to an API server.

    Attributes:
        server: its URL.
        authority: PEM file of who signed its certificate.
        chance: how likely a request is spoiled; 0: none is.
        told: spoiled requests by what was done to them: a status before or after the server did its work, or a
            watch that was dropped.
        torn: the part of a watch's chunks that end it in the midst of a line; not left to the dice, so that it happens.
        url: where the proxy listens.
    """

    server: str
    authority: Path
    chance: float = 0.0
    torn: float = 0.0
    told: Counter[str] = field(default_factory=Counter)
    url: str = ""
    _dice: random.Random = field(default_factory=lambda: random.Random(11))
    _chunks: int = 0
    _session: aiohttp.ClientSession | None = None

    async def serve(self, ready: threading.Event, done: asyncio.Event) -> None:
        """Until `done`; sets `ready` when the URL is known."""
        context = ssl.create_default_context(cafile=str(self.authority))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        endless = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=endless, auto_decompress=False
        ) as self._session:
            application = web.Application(client_max_size=1 << 26)
            application.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(application, shutdown_timeout=0.1)  # 0 is endless
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()
            await done.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        spoiled = self._dice.random() < self.chance
        watch = "watch" in request.query
        early = self._dice.random() < 0.5
        if spoiled and early:
            return self._fault(request, "before")
        answer = await self._forward(request, drop=watch and spoiled)
        return self._fault(request, "after") if spoiled and not watch else answer

    def _tears(self) -> bool:
        self._chunks += 1
        return self.torn > 0 and self._chunks % round(1 / self.torn) == 0

    def _fault(self, request: web.Request, when: str) -> web.Response:
        # A conflict says that nothing was done: it would be a lie afterwards.
        statuses = [429, 500, 503] + [409] * (request.method in _WRITES and when == "before")
        allowed = statuses if when == "before" else [500, 503]
        status = min(allowed, key=lambda one: self.told[f"{one} {when}"])  # each of them, sooner or later
        self.told[f"{status} {when}"] += 1
        document = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": _REASONS[status],
            "message": "spoiled by the test",
            "code": status,
        }
        headers = {"Retry-After": "1"} if status == 429 else {}
        return web.json_response(document, status=status, headers=headers, dumps=json.dumps)

    async def _forward(self, request: web.Request, *, drop: bool) -> web.StreamResponse:
        assert self._session is not None
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _OWN_HEADERS}
        body = await request.read()
        try:
            async with self._session.request(
                request.method, self.server + request.raw_path, headers=headers, data=body or None
            ) as given:
                kept = {key: value for key, value in given.headers.items() if key.lower() not in _OWN_HEADERS}
                answer = web.StreamResponse(status=given.status, headers=kept)
                if drop:
                    self.told["watch dropped"] += 1
                    given.close()
                    return web.Response(status=200, headers=kept)
                await answer.prepare(request)
                async for chunk in given.content.iter_any():
                    if "watch" in request.query and self._tears():
                        self.told["watch torn"] += 1
                        await answer.write(chunk[: len(chunk) // 2])
                        break
                    await answer.write(chunk)
                    if "watch" in request.query and self._dice.random() < self.chance / 4:
                        self.told["watch dropped"] += 1
                        break
                with suppress(ConnectionError):
                    await answer.write_eof()
                return answer
        except aiohttp.ClientError:
            return web.Response(status=502, text="the API server does not answer")


@contextmanager
def run_fault_proxy(server: str, authority: Path) -> Iterator[FaultProxy]:
    """A proxy that spoils nothing until it has a `chance` to."""
    proxy = FaultProxy(server, authority)
    ready, done = threading.Event(), asyncio.Event()
    runner = asyncio.Runner()
    loop = runner.get_loop()

    def serve() -> None:
        with runner:
            runner.run(proxy.serve(ready, done))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
