"""The command line."""

from __future__ import annotations

from asrtune_trainer.cli.process_one import be_process_one
from asrtune_trainer.stages.stop import StopSignal, stop_on_sigterm


def main() -> None:
    """Entry point of the console script."""
    stop = StopSignal()
    # Before anything else: the commands' imports take a second, in which nobody would hear a signal.
    stop_on_sigterm(stop)
    be_process_one()
    from asrtune_trainer.cli.main import app  # noqa: PLC0415

    app(obj=stop)


__all__ = ["main"]
