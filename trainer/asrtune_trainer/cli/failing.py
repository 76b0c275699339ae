"""How a command ends: one message for a person, an exit code, and a termination message for the operator."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asrtune_api.errors import AsrtuneError, ExitCode
from asrtune_api.termination import Result, SavedCheckpoint, TerminationMessage
from asrtune_trainer.faults import as_asrtune_error
from asrtune_trainer.telemetry.events import Checkpointed, Event, Resumed, StageStarted, TrainStep


@dataclass
class Termination:
    """What the command knows when it ends."""

    log: Path | None = None
    """Where the termination message goes."""
    stage: str = ""
    step: int | None = None
    checkpoint: SavedCheckpoint | None = None
    results: Callable[[], Mapping[str, Result]] = dict
    """Asked for at the end: whatever the end is, finished stages count."""
    remark: str = ""
    """What else there is to say, after the error: a sentence."""
    name: str = "termination message"

    def accept(self, event: Event) -> None:
        """A telemetry sink: remembers the stage, the last training step and the last checkpoint."""
        match event:
            case StageStarted():
                self.stage, self.step, self.checkpoint = event.stage, None, None
            case TrainStep():
                self.step = event.step
            case Resumed():
                self.step, self.checkpoint = event.step, SavedCheckpoint(step=event.step)
            case Checkpointed():
                self.checkpoint = SavedCheckpoint(step=event.step, time=round(time.time(), 3))
            case _:
                pass

    def close(self) -> None:
        """Nothing to bring anywhere."""

    def fail(self, error: AsrtuneError, *, kept: Path | None = None) -> int:
        """Say how the command failed.

        Args:
            error: why.
            kept: where its traceback lies.

        Returns:
            the exit code.
        """
        message = TerminationMessage.from_error(
            error, stage=self.stage, step=self.step, checkpoint=self.checkpoint, results=self.results()
        )
        self._write(message)
        _show(error, kept)
        self._show_remark()
        return int(error.exit_code)

    def succeed(self) -> None:
        """Say that the command is done."""
        self._write(
            TerminationMessage.done(stage=self.stage, checkpoint=self.checkpoint, results=self.results())
        )
        self._show_remark()

    def _show_remark(self) -> None:
        if self.remark:
            Console(stderr=True, soft_wrap=True, highlight=False).print(self.remark, markup=False)

    def _write(self, message: TerminationMessage) -> None:
        if self.log is None:
            return
        try:
            self.log.write_bytes(message.encode())
        except OSError as error:
            print(f"the termination message could not be written: {error}", file=sys.stderr)  # noqa: T201


@contextmanager
def guarded(log: Path | None) -> Iterator[Termination]:
    """Turn any failure into its message and exit code; no traceback reaches the user."""
    termination = Termination(log)
    try:
        yield termination
    except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 (the last resort)
        error = as_asrtune_error(problem)
        kept = _keep_traceback() if error.exit_code == ExitCode.INTERNAL else None
        raise SystemExit(termination.fail(error, kept=kept)) from None
    else:
        termination.succeed()


def _show(error: AsrtuneError, kept: Path | None) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    word, style = ("stopped", "yellow") if error.exit_code == ExitCode.INTERRUPTED else ("error", "red")
    where = f"{error.where}: " if error.where else ""
    console.print(f"[bold {style}]{word}:[/] ", end="")
    console.print(f"{where}{error.message}", markup=False)
    if error.remedy:
        console.print(f"  {error.remedy}", markup=False)
    if kept is not None:
        console.print(f"  The traceback is in {kept}.", markup=False)


def _keep_traceback() -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="asrtune-", suffix=".traceback", delete=False) as file:
        file.write(traceback.format_exc())
    return Path(file.name)
