"""Waiting for a run to come to a state, with what it does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.markup import escape

from asrtune_operator.kubectl.consoles import remarks
from asrtune_operator.kubectl.headline import headline
from asrtune_operator.kubectl.runs import RunView

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster

_PERIOD_SECONDS: Final = 1.0


async def until(cluster: Cluster, view: RunView, reached: Callable[[RunView], bool]) -> RunView:
    """The run as soon as it is so; what it does until then goes to standard error, each change once."""
    console, told = remarks(), ""
    with console.status("") as spinner:
        while not reached(view):
            said = f"{view.title}: {_state(view)}"
            spinner.update(escape(said))
            if said != told and not console.is_terminal:
                console.print(said, markup=False)
            told = said
            await asyncio.sleep(_PERIOD_SECONDS)
            view = await cluster.run_again(view.ref)
    return view


def _state(view: RunView) -> str:
    head = headline(view, datetime.now(UTC))
    progress = view.status.progress
    saved = (
        f" Last checkpoint: step {progress.checkpoint_step:,}."
        if progress is not None and progress.checkpoint_step is not None
        else ""
    )
    return f"{view.status.phase or 'New'}. {head.text}{saved}"
