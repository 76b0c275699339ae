"""The wish to stop: set by SIGTERM or SIGINT, looked at between steps and between items."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from asrtune_api.errors import InterruptedRunError


class StopSignal:
    """A flag that a signal handler may set."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.cause = ""

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self, cause: str) -> None:
        """Ask the run to stop."""
        self.cause = self.cause or cause
        self._event.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Until the run is asked to stop, or for so long; whether it was."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Leave a stage whose work so far is worth nothing or is already on disk.

        Raises:
            InterruptedRunError: if the run was asked to stop.
        """
        if self:
            raise InterruptedRunError(
                f"stopped by {self.cause}.", remedy="Run the same command again; it goes on where it stopped."
            )


def stop_on_sigterm(stop: StopSignal) -> None:
    """Hear SIGTERM from now on: the earliest moment of a process, before imports that take seconds.

    Process 1 of a container would not even die of it otherwise.
    """
    signal.signal(signal.SIGTERM, lambda number, _frame: stop.set(signal.Signals(number).name))


@contextmanager
def stop_on_signals(stop: StopSignal) -> Iterator[StopSignal]:
    """Turn the first SIGTERM or SIGINT into `stop`; a second SIGINT ends the process as usual."""

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
