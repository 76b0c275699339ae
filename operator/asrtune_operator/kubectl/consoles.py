"""Where commands write."""

from __future__ import annotations

from typing import Final

from rich.console import Console

WIDE: Final = 4000
"""Columns of what is no terminal: nothing is folded there."""


def answers() -> Console:
    """Standard output; wide where nobody looks at a terminal, so that programs find whole lines."""
    return _console(stderr=False, soft_wrap=False)


def remarks() -> Console:
    """Standard error: what is not the answer itself."""
    return _console(stderr=True, soft_wrap=True)


def _console(*, stderr: bool, soft_wrap: bool) -> Console:
    console = Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console
