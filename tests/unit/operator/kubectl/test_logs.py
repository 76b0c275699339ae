"""Logs of several ranks as one, and whose logs they are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.interleave import Line, interleave, parse_line
from asrtune_operator.kubectl.runs import RunView
from asrtune_operator.kubectl.which_logs import choose
from asrtune_operator.values.observed import PodView
from tools.statuses import FAILED, PENDING, RUNNING, run

# As a containerd node gives them: nine digits, or fewer where a time ends in zeros; the node's own zone.
RECORDED = {
    0: [
        "2026-01-01T00:42:01.000000000Z rendezvous at calls-train-2-node-0-0:29500",
        "2026-01-01T00:42:03.1Z step 1 loss 5.12",
        "2026-01-01T00:42:03.123456789Z step 2 loss 4.98",
        "2026-01-01T00:42:05.000000001Z ",
    ],
    1: [
        "2026-01-01T08:42:02.000000000+08:00 joined as node 1",
        "2026-01-01T08:42:03.12+08:00 waiting for the others",
        "Traceback without a time",
        "2026-01-01T00:42:04Z done",
    ],
}


async def source(lines: Sequence[str], pauses: Mapping[int, float] | None = None) -> AsyncIterator[Line]:
    last = 0
    for number, raw in enumerate(lines):
        await asyncio.sleep((pauses or {}).get(number, 0))
        line = parse_line(raw, last)
        last = line.time
        yield line


def merged(sources: Mapping[int, AsyncIterator[Line]], hold: float | None = None) -> list[tuple[int, str]]:
    async def work() -> list[tuple[int, str]]:
        return [(rank, line.text) async for rank, line in interleave(sources, hold=hold)]

    return asyncio.run(asyncio.wait_for(work(), 30))


ORDER = [
    (0, "rendezvous at calls-train-2-node-0-0:29500"),
    (1, "joined as node 1"),
    (0, "step 1 loss 5.12"),
    (1, "waiting for the others"),
    (1, "Traceback without a time"),
    (0, "step 2 loss 4.98"),
    (1, "done"),
    (0, ""),
]


def test_recorded_logs() -> None:
    assert merged({rank: source(lines) for rank, lines in RECORDED.items()}) == ORDER


@pytest.mark.parametrize(
    ("raw", "time", "text"),
    [
        ("1970-01-01T00:00:01Z text", 10**9, "text"),
        ("1970-01-01T01:00:00.5+01:00 two words", 5 * 10**8, "two words"),
        ("1970-01-01T00:00:00.000000001Z", 1, ""),
        ("unable to retrieve container logs", 7, "unable to retrieve container logs"),
        ("2026-13-45 text", 7, "2026-13-45 text"),
    ],
)
def test_times(raw: str, time: int, text: str) -> None:
    assert parse_line(raw, 7) == Line(time, text)


logs_of_ranks = st.dictionaries(
    st.integers(0, 5), st.lists(st.integers(0, 50), max_size=20).map(sorted), max_size=4
)


@given(logs_of_ranks)
def test_complete_logs_come_in_order_and_whole(logs: dict[int, list[int]]) -> None:
    async def numbered(times: list[int]) -> AsyncIterator[Line]:
        for number, time in enumerate(times):
            yield Line(time, str(number))

    async def work() -> list[tuple[int, Line]]:
        return [one async for one in interleave({rank: numbered(times) for rank, times in logs.items()})]

    got = asyncio.run(work())
    assert [line.time for _, line in got] == sorted(time for times in logs.values() for time in times)
    for rank, times in logs.items():
        assert [int(line.text) for one, line in got if one == rank] == list(range(len(times)))


def test_more_lines_than_are_buffered() -> None:
    """A rank that has written much more than another is read no faster than it is printed."""
    many = [f"1970-01-01T00:00:01.{number:09d}Z {number}" for number in range(5000)]
    got = merged({0: source(many), 1: source(["1970-01-01T00:00:02Z last"])})
    assert got == [*((0, str(number)) for number in range(5000)), (1, "last")]


def test_a_silent_rank_does_not_hold_back_the_others_for_ever() -> None:
    slow = {1: 2.0}  # rank 1's second line comes two seconds late
    got = merged({0: source(RECORDED[0]), 1: source(RECORDED[1][:2], slow)}, hold=0.2)
    assert got[0] == ORDER[0]
    assert got[-1] == (1, "waiting for the others")
    assert sorted(got) == sorted(
        [*((0, line) for rank, line in ORDER if rank == 0), *((1, ORDER[n][1]) for n in (1, 3))]
    )


def test_lines_that_come_within_the_hold_are_put_in_order() -> None:
    late = {0: 0.1, 1: 0.1, 3: 0.1}  # rank 1 is a tenth of a second behind, in other hands
    assert merged({0: source(RECORDED[0]), 1: source(RECORDED[1], late)}, hold=2.0) == ORDER


def test_a_burst_is_held_once_and_not_line_by_line() -> None:
    burst = [f"1970-01-01T00:00:01.{number:09d}Z {number}" for number in range(200)]
    loop_time: list[float] = []

    async def work() -> None:
        silent = source(["1970-01-01T00:00:09Z end"], {0: 1.5})
        start = asyncio.get_running_loop().time()
        async for rank, line in interleave({0: source(burst), 1: silent}, hold=0.2):
            if (rank, line.text) == (0, "199"):
                loop_time.append(asyncio.get_running_loop().time() - start)

    asyncio.run(work())
    assert loop_time[0] < 1.4


def test_a_source_that_fails_is_told_after_the_others_lines() -> None:
    async def failing() -> AsyncIterator[Line]:
        yield Line(1, "first")
        raise PluginError("the log is broken")

    got: list[str] = []

    async def work() -> None:
        async for _, line in interleave({0: failing(), 1: source(RECORDED[0])}):
            got.append(line.text)

    with pytest.raises(PluginError, match="broken"):
        asyncio.run(work())
    assert got == ["first", *(text for rank, text in ORDER if rank == 0)]


def test_leaving_early_ends_the_readers() -> None:
    endless = (f"1970-01-01T00:00:00Z {number}" for number in range(10**9))

    async def forever() -> AsyncIterator[Line]:
        for raw in endless:
            await asyncio.sleep(0)
            yield parse_line(raw)

    async def work() -> tuple[int, int]:
        before = len(asyncio.all_tasks())
        async with contextlib.aclosing(interleave({0: forever(), 1: source([])})) as lines:
            async for _ in lines:
                break
        return before, len(asyncio.all_tasks())

    before, after = asyncio.run(asyncio.wait_for(work(), 30))
    assert after == before


def view(name: str, rank: int, attempt: int, stage: str = "train") -> PodView:
    return PodView(
        name=name,
        uid=name,
        stage=stage,
        attempt=attempt,
        rank=rank,
        created=datetime(2026, 1, 1, 0, 41, tzinfo=UTC),
    )


PODS = [view("b", 1, 2), view("a", 0, 2), view("old", 0, 1), view("p", 0, 1, "prepare")]


def test_the_attempt_that_runs() -> None:
    chosen = choose(RunView(run(RUNNING)), PODS, None, None)
    assert (chosen.stage, chosen.attempt, [pod.name for pod in chosen.pods]) == ("train", 2, ["a", "b"])


def test_another_stage_or_attempt() -> None:
    assert [pod.name for pod in choose(RunView(run(RUNNING)), PODS, "train", 1).pods] == ["old"]
    assert [pod.name for pod in choose(RunView(run(RUNNING)), PODS, "prepare", None).pods] == ["p"]


def test_a_stage_that_shares_pods() -> None:
    """Only the first stage of a unit has its name in labels."""
    shared = [view("one", 0, 1, "prepare")]
    status = RUNNING | {"attempts": []}
    assert [pod.name for pod in choose(RunView(run(status)), shared, "evaluate", None).pods] == ["one"]


@pytest.mark.parametrize(
    ("stage", "attempt", "words"),
    [
        ("trian", None, 'Did you mean "train"?'),
        ("train", 7, "there are no pods of train, attempt 7"),
        ("evaluate", 1, "the pods of train, attempt 1 are gone"),
    ],
)
def test_logs_that_are_not_there(stage: str, attempt: int | None, words: str) -> None:
    with pytest.raises(PluginError) as caught:
        choose(RunView(run(RUNNING)), [], stage, attempt)
    assert words in str(caught.value)


def test_pods_that_are_gone() -> None:
    with pytest.raises(PluginError) as caught:
        choose(RunView(run(FAILED)), [], None, None)
    assert "train, attempt 2 are gone" in str(caught.value)
    assert "The GPU ran out of memory" in str(caught.value)
    assert "s3://speech/runs/calls" in caught.value.remedy


def test_pods_that_are_not_there_yet() -> None:
    with pytest.raises(PluginError, match=r"has no pods yet. train waits for 2 nodes"):
        choose(RunView(run(PENDING)), [], None, None)
