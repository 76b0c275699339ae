"""A run in the terminal: a live bar with log lines above it, or plain lines where nobody looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from asrtune_trainer.telemetry.events import (
    Event,
    Note,
    Saving,
    StageFinished,
    StageSkipped,
    StageStarted,
    TrainStep,
    Validated,
    Waiting,
    Work,
)
from asrtune_trainer.telemetry.hub import Sink
from asrtune_trainer.telemetry.lines import duration, line_of, printable, work
from asrtune_trainer.telemetry.progress import ProgressState

NARROW = 70
"""Columns below which the live line shows the bar and the time left alone."""


class Quiet:
    """Warnings alone."""

    name = "the terminal"

    def __init__(self, console: Console) -> None:
        self._console = console

    def accept(self, event: Event) -> None:
        if isinstance(event, Note) and event.warning:
            say(self._console, event)

    def close(self) -> None:
        """Nothing is held back."""


class Plain:
    """One line an event; counts of work at each tenth or every ten seconds, log lines with the time that is left.

    Args:
        console: where to.
        state: the run before its first event.
        clock: unix seconds.
    """

    name = "the terminal"
    share: ClassVar[float] = 0.1
    seconds: ClassVar[float] = 10.0

    def __init__(
        self, console: Console, state: ProgressState, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._console = console
        self._state = state
        self._clock = clock
        self._last: Work | None = None
        self._said_at = 0.0

    def accept(self, event: Event) -> None:
        now = self._clock()
        self._state = self._state.apply(event, now)
        if not isinstance(event, Work) or self._due(event, now):
            say(self._console, event, left=_left(self._state) if isinstance(event, TrainStep) else "")

    def close(self) -> None:
        """Nothing is held back."""

    def _due(self, event: Work, now: float) -> bool:
        last = self._last
        same = last is not None and (last.stage, last.what, last.part) == (
            event.stage,
            event.what,
            event.part,
        )
        if last is not None and same:
            further = event.done - last.done
            ends = event.done >= event.total > last.done
            due = ends or further >= self.share * event.total > 0 or now - self._said_at >= self.seconds
            if not due:
                return False
        self._last, self._said_at = event, now
        return True


class Live:
    """A bar for the running stage at the bottom, and everything else above it.

    Args:
        console: a terminal that can move its cursor.
        state: the run before its first event.
        clock: unix seconds.
    """

    name = "the terminal"

    def __init__(
        self, console: Console, state: ProgressState, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._console = console
        self._state = state
        self._clock = clock
        self._bar: Progress | None = None
        self._task: TaskID = TaskID(0)

    def accept(self, event: Event) -> None:
        self._state = self._state.apply(event, self._clock())
        match event:
            case StageStarted():
                self.close()
                self._open(event)
            case StageFinished():
                self.close()
                say(self._console, event)
            case Work():
                self._update(work(event))
            case TrainStep():
                say(self._console, event)
                self._update(f"epoch {event.epoch}/{event.epochs} step {event.step}/{event.total_steps}")
            case _:
                say(self._console, event)

    def close(self) -> None:
        """Take the bar away and give the cursor back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _open(self, event: StageStarted) -> None:
        def text(template: str) -> TextColumn:
            # Cropped, not ended by an ellipsis: not every terminal can show one.
            return TextColumn(template, markup=False, table_column=Column(no_wrap=True, overflow="crop"))

        what = [text("{task.fields[what]}")] if self._console.width >= NARROW else []
        self._bar = Progress(
            text("{task.description}"),
            BarColumn(bar_width=None if what else 10),
            text("{task.percentage:>3.0f}%"),
            *what,
            text("{task.fields[eta]}"),
            console=self._console,
            transient=True,
            expand=True,
            # A data worker forked while the bar holds rich's lock would hang at its first print through it.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        title = printable(line_of(event), self._console.encoding)
        self._task = self._bar.add_task(title, total=None, what="", eta="")
        self._bar.start()

    def _update(self, what: str) -> None:
        if self._bar is None:
            return
        self._bar.update(
            self._task,
            total=1.0,
            completed=self._state.fraction,
            what=printable(what, self._console.encoding),
            eta=_left(self._state),
        )


def terminal_sink(console: Console, state: ProgressState, *, quiet: bool = False) -> Sink:
    """The sink that suits the console."""
    if quiet:
        return Quiet(console)
    if console.is_terminal and not console.is_dumb_terminal:
        return Live(console, state)
    return Plain(console, state)


def say(console: Console, event: Event, *, left: str = "") -> None:
    """Print an event's line as it is: no markup, no wrapping. What the next line says anyway is left out."""
    if isinstance(event, Saving) or (isinstance(event, Waiting) and not event.kind):
        return
    line = line_of(event) + (left and f", {left}")
    text = Text(printable(line, console.encoding), style=_style(event))
    console.print(text, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.file.flush()


def _left(state: ProgressState) -> str:
    """How long the stage will take from here; empty where nobody knows yet."""
    eta = state.stage_eta_seconds
    return f"{duration(eta)} left" if eta else ""


def _style(event: Event) -> str:
    match event:
        case Note(warning=True):
            return "yellow"
        case StageStarted() | StageFinished():
            return "bold"
        case StageSkipped():
            return "dim"
        case Validated(best=True):
            return "green"
        case _:
            return ""
