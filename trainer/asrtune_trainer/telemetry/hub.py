"""The fan-out of a run's events to its sinks. Watching a run never ends it and never slows it."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from asrtune_trainer.telemetry.events import Event, Note, TrainStep, Work

QUEUE_LIMIT = 10_000
"""Events a slow sink may lag behind before log lines are left out."""
CLOSE_SECONDS = 5.0
"""How long the end of a run waits for a slow sink."""


class Sink(Protocol):
    """Carries events somewhere. What may block (disk, terminal, network) goes behind `Background`."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    def accept(self, event: Event) -> None:
        """Carry an event. An exception switches the sink off."""
        ...

    def close(self) -> None:
        """Bring everything where it belongs."""
        ...


class Hub:
    """Telemetry to many sinks. The first sink added hears first and is closed first.

    A sink that fails is switched off with one warning, which the others carry. `emit` may be called by any thread.
    """

    def __init__(self) -> None:
        self._sinks: tuple[Sink, ...] = ()
        self._lock = threading.Lock()
        self._stage = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Those that still work."""
        return self._sinks

    def add(self, sink: Sink) -> None:
        """Add a sink behind the others."""
        with self._lock:
            self._sinks = (*self._sinks, sink)

    def emit(self, event: Event) -> None:
        """Carry an event to every sink; never raises and never waits for disk, terminal or network."""
        self._stage = event.stage
        for sink in self._sinks:
            try:
                sink.accept(event)
            except Exception as error:  # noqa: BLE001 (whatever ails a sink, the run goes on)
                if self._remove(sink):
                    with suppress(Exception):
                        sink.close()
                    self.warn(f"{sink.name} is switched off: {_cause(error)}")

    def warn(self, message: str) -> None:
        """Tell a person that something about the telemetry itself is wrong."""
        self.emit(Note(self._stage, message, warning=True))

    def close(self) -> None:
        """Close the sinks in order; what one fails to bring home, those after it tell."""
        while self._sinks:
            sink = self._sinks[0]
            self._remove(sink)
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001 (as above)
                self.warn(f"{sink.name}: {_cause(error)}")

    def _remove(self, sink: Sink) -> bool:
        with self._lock:
            there = sink in self._sinks
            self._sinks = tuple(one for one in self._sinks if one is not sink)
        return there


class Background:
    """Puts a sink on a thread of its own, behind a queue.

    Where the sink cannot keep up, log lines of training and counts of work are left out; nothing else is.

    Args:
        sink: only the thread calls it, its `close` too.
        limit: events it may lag behind.
        patience: seconds that `close` waits.
    """

    def __init__(self, sink: Sink, *, limit: int = QUEUE_LIMIT, patience: float = CLOSE_SECONDS) -> None:
        self._sink = sink
        self._limit = limit
        self._patience = patience
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._left_out = 0
        self._thread = threading.Thread(target=self._work, name=f"telemetry {sink.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return self._sink.name

    def accept(self, event: Event) -> None:
        """Queue an event.

        Raises:
            Exception: what the sink failed with, on an earlier event.
        """
        if self._failure is not None:
            raise self._failure
        if self._queue.qsize() >= self._limit and isinstance(event, TrainStep | Work):
            self._left_out += 1
        else:
            self._queue.put(event)

    def close(self) -> None:
        """Wait until the queue is empty and the sink closed.

        Raises:
            Exception: what the sink failed with.
            TimeoutError: if it took too long; the thread is left to itself.
            BufferError: if events were left out because the sink was too slow.
        """
        self._queue.put(None)
        self._thread.join(self._patience)
        if self._failure is not None:
            raise self._failure
        if self._thread.is_alive():
            raise TimeoutError(f"still busy after {self._patience:g} s; its last events are lost")
        if self._left_out:
            raise BufferError(f"could not keep up; {self._left_out} log lines were left out")

    def _work(self) -> None:
        try:
            try:
                while (event := self._queue.get()) is not None:
                    self._sink.accept(event)
            finally:
                self._sink.close()
        except Exception as error:  # noqa: BLE001 (handed to the hub by the next call)
            self._failure = error


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__
