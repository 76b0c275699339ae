"""When the operator counts as sick."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

from prometheus_client import CollectorRegistry

from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.health import Pulse, now, serve
from tools.ports import free_port


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_line_that_does_not_move_is_sick_and_a_long_one_is_not() -> None:
    async def body() -> None:
        queue = WorkQueue()
        pulse = Pulse(queue, 0.05, leading=True)
        assert pulse.problems() == []
        queue.add("a")
        await asyncio.sleep(0.1)
        pulse.streaming = pulse.reconcile = now()
        assert pulse.problems() == []
        await asyncio.sleep(0.1)
        pulse.streaming = now()
        assert len(pulse.problems()) == 1
        assert "none had one" in pulse.problems()[0]
        pulse.leading = False  # who waits for the lease has no line to move
        assert pulse.problems() == []

    asyncio.run(body())


def test_watches_that_are_down_are_sick() -> None:
    async def body() -> None:
        pulse = Pulse(WorkQueue(), 0.05, leading=True)
        await asyncio.sleep(0.1)
        assert "watches have been down" in pulse.problems()[0]

    asyncio.run(body())


def test_it_is_served() -> None:
    async def body() -> None:
        pulse, port = Pulse(WorkQueue(), 60), free_port()
        async with serve(pulse, CollectorRegistry(), "127.0.0.1", port):
            assert (await asyncio.to_thread(ask, port, "/readyz"))[0] == 200  # ready to take over
            pulse.leading = True
            assert (await asyncio.to_thread(ask, port, "/readyz"))[0] == 503
            pulse.resync = pulse.event = now()
            assert (await asyncio.to_thread(ask, port, "/readyz"))[0] == 200
            status, text = await asyncio.to_thread(ask, port, "/healthz")
            assert status == 200
            assert "last event: 0." in text
            assert "last reconcile: never" in text
            pulse.stuck_seconds = -1
            assert (await asyncio.to_thread(ask, port, "/healthz"))[0] == 503

    asyncio.run(body())
