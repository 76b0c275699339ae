"""The last thing a run prints: the table of CERs and where the report is."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asrtune_trainer.telemetry.events import Scored
from asrtune_trainer.telemetry.lines import printable

BASE = "base"
WIDE = 400
"""Columns of what is no terminal: nothing is folded there."""


def summary_table(scores: Sequence[Scored], *, encoding: str = "utf-8") -> Table:
    """CERs before and after by test set, with the fine-tuned model's interval and the relative change.

    Args:
        scores: of the model `base` and of any other; a later score of the same set and model replaces one before.
        encoding: of the stream it will be printed on.
    """
    by_set: dict[str, dict[str, Scored]] = {}
    for score in scores:
        by_set.setdefault(score.set, {})[score.model] = score
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("test set")
    for heading in ("base CER", "fine-tuned CER", "95 % interval", "change"):
        table.add_column(heading, justify="right")
    for name, models in by_set.items():
        base = models.pop(BASE, None)
        rows: list[Scored | None] = [*models.values()] or [None]
        for tuned in rows:
            table.add_row(Text(printable(_title(name, base, tuned), encoding)), *_cells(base, tuned))
    return table


def print_summary(console: Console, scores: Sequence[Scored], *, report: str | None = None) -> None:
    """Print the table (if there are scores) and the report's path. In ASCII and unfolded where it is no terminal."""
    if scores:
        table = summary_table(scores, encoding=console.encoding)
        if console.is_terminal:
            console.print(table)
        else:
            table.box = box.ASCII
            Console(file=console.file, width=WIDE, color_system=None).print(table)
    if report is not None:
        text = Text(f"report: {printable(report, console.encoding)}")
        console.print(text, soft_wrap=True, highlight=False)


def _title(name: str, base: Scored | None, tuned: Scored | None) -> str:
    retention = any(one is not None and one.retention for one in (base, tuned))
    return f"{name} (old domain)" if retention else name


def _cells(base: Scored | None, tuned: Scored | None) -> tuple[str, str, str, Text]:
    return (
        f"{base.cer:.2f} %" if base else "",
        f"{tuned.cer:.2f} %" if tuned else "",
        f"{tuned.low:.2f} to {tuned.high:.2f}" if tuned else "",
        _change(base, tuned),
    )


def _change(base: Scored | None, score: Scored | None) -> Text:
    """The relative change in percent, green where the CER fell."""
    if base is None or score is None or base.cer <= 0:
        return Text("")
    change = 100 * (score.cer - base.cer) / base.cer
    return Text(f"{change:+.1f} %", style="green" if change < 0 else "red" if change > 0 else "")
