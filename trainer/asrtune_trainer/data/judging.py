"""Judges the lines of a source, audio included, in order and in parallel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from asrtune_trainer.data.cache import AudioCache
from asrtune_trainer.data.checks import Limits, Measured, inspect
from asrtune_trainer.data.lines import Ready
from asrtune_trainer.data.pool import WorkerPool, chunked
from asrtune_trainer.data.reader import Reject
from asrtune_trainer.data.reasons import Problem

_WINDOW = 512
"""Lines whose audio is downloaded at once."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A line that is used."""

    line: Ready
    audio: Measured


Verdict = Accepted | Reject
_Task = tuple[Ready | Reject, Path | Problem | Measured | None]


@dataclass(frozen=True)
class Judge:
    """What it takes to judge lines."""

    limits: Limits
    cache: AudioCache
    pool: WorkerPool

    def judge(
        self, lines: Iterable[Ready | Reject], known: Mapping[int, Verdict] | None = None
    ) -> Iterator[Verdict]:
        """A verdict on each line, in order.

        Args:
            lines: any number, even endless.
            known: verdicts by line number that need not be found again.
        """
        return self.pool.map(partial(_judge, self.limits), self._tasks(lines, known or {}))

    def _tasks(self, lines: Iterable[Ready | Reject], known: Mapping[int, Verdict]) -> Iterator[_Task]:
        for window in chunked(lines, _WINDOW):
            new = [line for line in window if isinstance(line, Ready) and line.line not in known]
            self.cache.download(line.uri for line in new)
            for line in window:
                yield self._task(line, known.get(line.line))

    def _task(self, line: Ready | Reject, verdict: Verdict | None) -> _Task:
        match verdict:
            case Accepted():
                return line, verdict.audio
            case Reject():
                return verdict, None
        return line, None if isinstance(line, Reject) else self.cache.local(line.uri)


def _judge(limits: Limits, task: _Task) -> Verdict:
    line, found = task
    if isinstance(line, Reject):
        return line
    outcome = inspect(found, line.text, limits) if isinstance(found, Path) else found
    if isinstance(outcome, Measured):
        return Accepted(line, outcome)
    assert outcome is not None
    return Reject(line.line, outcome, line.key, line.uri)
