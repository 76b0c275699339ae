"""Runs a function over chunks in parallel processes; results come in order, memory stays bounded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

from asrtune_api.errors import OutOfMemoryError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 32
"""Items handed to a process at once: some tens of milliseconds of work."""
_QUEUED_PER_WORKER = 3


class WorkerPool:
    """Processes that apply functions to items. Made by `worker_pool`."""

    def __init__(self, workers: int, executor: ProcessPoolExecutor | None) -> None:
        self._workers = workers
        self._executor = executor

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a function of a module (not a lambda) to each item, in order; items may be endless.

        Raises:
            AsrtuneError: if a process died.
        """
        if self._executor is None:
            yield from map(function, items)
            return
        chunks = chunked(items, CHUNK)
        running: deque[Future[list[Result]]] = deque()
        try:
            while True:
                for chunk in islice(chunks, self._workers * _QUEUED_PER_WORKER - len(running)):
                    running.append(self._executor.submit(_apply, function, chunk))
                if not running:
                    return
                yield from running.popleft().result()
        except BrokenProcessPool as error:
            raise OutOfMemoryError(
                "a process that reads audio died.",
                remedy="Look for an out-of-memory kill; fewer workers need less memory.",
                reason="WorkerDied",
            ) from error
        finally:
            for future in running:
                future.cancel()


@contextmanager
def worker_pool(workers: int, items: int) -> Iterator[WorkerPool]:
    """Processes for the length of a block; none where there is too little to do.

    They are spawned, not forked: the parent has threads. They end with the parent, however it ends.

    Args:
        workers: how many; 0 takes one a CPU core that this process may use.
        items: how many items there will be.
    """
    count = min(workers or _cores(), -(-items // CHUNK))
    if count <= 1:
        yield WorkerPool(1, None)
        return
    executor = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield WorkerPool(count, executor)
    finally:
        executor.shutdown(cancel_futures=True)


def chunked(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Consecutive runs of `size` items; the last may be shorter."""
    rest = iter(items)
    while chunk := tuple(islice(rest, size)):
        yield chunk


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _apply(function: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _start_worker() -> None:
    """Leave signals to the parent (Ctrl-C reaches every process of the terminal), and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=partial(_end_with, parent.join), daemon=True).start()


def _end_with(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)  # nothing to clean up: the parent takes results only as a whole
