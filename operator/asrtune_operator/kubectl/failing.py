"""How a command fails: one message for a person on standard error, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console

from asrtune_api.errors import AsrtuneError

FAILED: Final = 3
"""Exit code of what could not be done; 1 and 2 are answers of `why`, and 2 is a wrong command line, too."""
_BY_CTRL_C: Final = 130


class PluginError(AsrtuneError):
    """What a person asked for cannot be done, and what to do about it."""


@contextmanager
def guarded() -> Iterator[None]:
    """Turn a failure into its message and exit code; no traceback reaches the user."""
    try:
        yield
    except AsrtuneError as error:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("[bold red]error:[/] ", end="")
        console.print(f"{error.where}: {error.message}" if error.where else error.message, markup=False)
        if error.remedy:
            console.print(f"  {error.remedy}", markup=False)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(_BY_CTRL_C) from None
