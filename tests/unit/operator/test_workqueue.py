"""The work queue: dedup, one at a time, delays, back-off, turns."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from asrtune_operator.state.workqueue import FIRST_DELAY, LONGEST_DELAY, WorkQueue


async def drain(queue: WorkQueue) -> list[str]:
    """All keys that can be had now, each done at once."""
    keys = []
    while queue.state.waiting:
        key = await queue.get()
        keys.append(key)
        queue.done(key)
    return keys


def test_a_key_stands_in_line_once() -> None:
    async def body() -> None:
        queue = WorkQueue()
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert await drain(queue) == ["a", "b"]

    asyncio.run(body())


def test_what_is_added_during_its_work_is_worked_on_once_more() -> None:
    async def body() -> None:
        queue = WorkQueue()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert queue.state.waiting == 0  # not while somebody works on it
        queue.done("a")
        assert await drain(queue) == ["a"]

    asyncio.run(body())


@settings(max_examples=40, deadline=None)
@given(
    keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=60),
    workers=st.integers(1, 5),
    seed=st.randoms(),
)
def test_never_the_same_key_twice_at_once_and_none_is_lost(
    keys: list[str], workers: int, seed: object
) -> None:
    async def body() -> None:
        queue, active, worked = WorkQueue(), Counter[str](), Counter[str]()
        added = Counter[str]()

        async def work() -> None:
            while True:
                key = await queue.get()
                active[key] += 1
                assert active[key] == 1
                seen = added[key]
                await asyncio.sleep(0)
                worked[key] = max(worked[key], seen)
                active[key] -= 1
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for key in keys:
            added[key] += 1
            queue.add(key, urgent=added[key] % 2 == 0)
            await asyncio.sleep(0)
        for _ in range(5 * len(keys)):
            await asyncio.sleep(0)
        for task in tasks:
            assert not task.done(), task.exception()
            task.cancel()
        assert worked == added  # the last addition of each key was seen by work that began after it

    asyncio.run(body())


def test_the_earliest_time_counts_and_work_forgets_it() -> None:
    async def body() -> None:
        queue = WorkQueue()
        queue.add_after("a", 60)
        queue.add_after("a", 0.01)
        queue.add_after("a", 30)
        assert await asyncio.wait_for(queue.get(), 1) == "a"
        assert queue.state.delayed == 0
        queue.done("a")
        queue.add_after("b", 0.01)
        queue.add("b")
        assert await queue.get() == "b"
        queue.done("b")
        await asyncio.sleep(0.03)
        assert queue.state.waiting == 0  # the old time is no reason to look again

    asyncio.run(body())


def test_failures_back_off_and_success_forgives() -> None:
    async def body() -> None:
        queue = WorkQueue()
        delays = []
        for _ in range(12):
            queue.add("a")
            await queue.get()
            queue.add("a")  # an event meanwhile does not cut the back-off short
            delays.append(queue.fail("a"))
            assert queue.state.waiting == 0
            assert queue.state.delayed == 1
        assert all(later > earlier * 1.2 for earlier, later in itertools.pairwise(delays[:7]))
        assert max(delays) <= LONGEST_DELAY * 1.2
        queue.add("a")
        await queue.get()
        queue.done("a")
        queue.add("a")
        await queue.get()
        assert queue.fail("a") <= FIRST_DELAY * 1.2

    asyncio.run(body())


def test_new_runs_go_first_but_starve_nobody() -> None:
    async def body() -> None:
        queue = WorkQueue()
        for number in range(8):
            queue.add(f"old-{number}")
            queue.add(f"new-{number}", urgent=True)
        order = await drain(queue)
        assert sum(key.startswith("new") for key in order[:8]) == 6
        assert len(order) == 16

    asyncio.run(body())


def test_a_waiting_key_can_become_urgent() -> None:
    async def body() -> None:
        queue = WorkQueue()
        for key in ("a", "b", "c"):
            queue.add(key)
        queue.add("c", urgent=True)
        assert (await drain(queue))[0] == "c"

    asyncio.run(body())


def test_a_forgotten_key_is_gone() -> None:
    async def body() -> None:
        queue = WorkQueue()
        queue.add("a")
        queue.add_after("a", 0.01)
        queue.forget("a")
        await asyncio.sleep(0.03)
        assert queue.state.waiting == queue.state.delayed == 0

    asyncio.run(body())


def test_the_age_of_the_oldest_is_told() -> None:
    async def body() -> None:
        queue = WorkQueue()
        assert queue.state.oldest_seconds == 0
        queue.add("a")
        await asyncio.sleep(0.02)
        queue.add("b", urgent=True)
        assert queue.state.oldest_seconds >= 0.02

    asyncio.run(body())
