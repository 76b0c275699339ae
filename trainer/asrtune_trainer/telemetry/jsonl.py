"""The event log: one JSON line an event, appended; readable after any crash."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from asrtune_trainer.telemetry.events import Event
from asrtune_trainer.telemetry.wire import from_json, to_fields

LOG_NAME = "log.jsonl"
_BLOCK = 65_536


class JsonLines:
    """Appends events to a log. Each line is one write to the file, so a killed process loses no finished line.

    Args:
        path: the log; made if needed, and mended where a crash cut its last line.
        clock: unix seconds, written as `time`.

    Raises:
        OSError: if the log cannot be opened.
    """

    name = "the event log"

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        mend(path)
        self._file = path.open("ab", buffering=0)
        self._clock = clock

    def accept(self, event: Event) -> None:
        """Append an event.

        Raises:
            OSError: if the line could not be written as a whole.
        """
        values = {"time": round(self._clock(), 3), **to_fields(event)}
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(f"{self._file.name}: the disk is full.")

    def close(self) -> None:
        self._file.close()


def mend(path: Path) -> None:
    """Cut off what a crash left behind the last finished line."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        start = end
        while start > 0:
            start = max(0, start - _BLOCK)
            file.seek(start)
            newline = file.read(_BLOCK).rfind(b"\n")
            if newline >= 0:
                start += newline + 1
                break
        if start < end:
            file.truncate(start)


def read_log(path: Path) -> Iterator[tuple[float, Event]]:
    """The events of a log with their times (unix seconds). A cut line, or one of a later version, is passed over."""
    with path.open("rb") as file:
        for line in file:
            try:
                event = from_json(line)
                at = float(json.loads(line)["time"])
            except (ValueError, KeyError, TypeError):
                continue
            yield at, event
