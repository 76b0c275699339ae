"""`asrtune explain`: every decided value, and who decided it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asrtune_api.runspec import Decision, Origin
from asrtune_trainer.cli.run import resolve_manifest
from asrtune_trainer.telemetry.summary import WIDE

_STYLES = {
    Origin.USER: "bold green",
    Origin.PRESET: "cyan",
    Origin.RUNTIME: "magenta",
    Origin.DERIVED: "yellow",
    Origin.DEFAULT: "dim",
}


def explain_run(manifest: Path, sets: tuple[str, ...], *, as_json: bool = False) -> None:
    """Print the RunSpec as a table of decisions, or as the JSON that pods get.

    Raises:
        SpecInvalidError: with every problem, by line and field.
    """
    run = resolve_manifest(manifest, sets)
    console = Console(soft_wrap=as_json)
    if not console.is_terminal:
        console = Console(width=WIDE)
    if as_json:
        console.print_json(run.model_dump_json())
        return
    chain = " -> ".join(stage.name for stage in run.stages)
    console.print(f"[bold]{run.name}[/]: {chain}", highlight=False)
    console.print(_table(run.decisions))


def _table(decisions: list[Decision]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("field", "value", "decided by", "why"):
        table.add_column(heading, overflow="fold")
    for one in decisions:
        table.add_row(
            Text(one.path), Text(one.value), Text(one.origin, style=_STYLES[one.origin]), Text(one.reason)
        )
    return table
