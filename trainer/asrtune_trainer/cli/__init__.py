"""The command line."""

from asrtune_trainer.cli.main import main

__all__ = ["main"]
