"""Where commands write."""

from __future__ import annotations

from typing import Final

from rich.console import Console

WIDE: Final = 400
"""Columns of what is no terminal: nothing is folded there."""


def answers() -> Console:
    """Standard output; wide where nobody looks at a terminal, so that programs find whole lines."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def remarks() -> Console:
    """Standard error: what is not the answer itself."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return (
        console if console.is_terminal else Console(stderr=True, highlight=False, soft_wrap=True, width=WIDE)
    )
