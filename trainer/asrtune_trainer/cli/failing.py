"""How a command ends: one message for a person, an exit code, and a termination message for the operator."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from asrtune_api.errors import AsrtuneError, ExitCode
from asrtune_api.termination import Result, TerminationMessage
from asrtune_trainer.faults import as_asrtune_error
from asrtune_trainer.telemetry.events import Event, TrainStep


@dataclass
class Termination:
    """What the command knows when it ends."""

    stage: str = ""
    step: int | None = None
    results: dict[str, Result] = field(default_factory=dict)
    name: str = "termination message"

    def accept(self, event: Event) -> None:
        """A telemetry sink: remembers the last training step."""
        if isinstance(event, TrainStep):
            self.step = event.step

    def close(self) -> None:
        """Nothing to bring anywhere."""


@contextmanager
def guarded(log: Path | None) -> Iterator[Termination]:
    """Turn any failure into its message and exit code; no traceback reaches the user."""
    termination = Termination()
    try:
        yield termination
    except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 (the last resort)
        error = as_asrtune_error(problem)
        _write(log, TerminationMessage.from_error(error, stage=termination.stage, step=termination.step))
        _show(error, _keep_traceback() if error.exit_code == ExitCode.INTERNAL else None)
        raise SystemExit(int(error.exit_code)) from None
    else:
        _write(log, TerminationMessage.done(results=termination.results))


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


def _write(log: Path | None, message: TerminationMessage) -> None:
    if log is None:
        return
    try:
        log.write_bytes(message.encode())
    except OSError as error:
        print(f"the termination message could not be written: {error}", file=sys.stderr)  # noqa: T201
