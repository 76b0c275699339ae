"""Tables of error rates, as a run prints them in the end, and where the report is."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asrtune_api.scores import Score, certain
from asrtune_trainer.telemetry.lines import printable

BASE = "base"
_STYLES = {-1: "green", 0: "", 1: "red"}
WIDE = 400
"""Columns of what is no terminal: nothing is folded there."""


def summary_table(scores: Sequence[Score], *, encoding: str = "utf-8") -> Table:
    """Error rates before and after by test set, with the fine-tuned model's interval and the change in points.

    Args:
        scores: of the model `base` and of any other; a later score of the same set and model replaces one before.
        encoding: of the stream it will be printed on.
    """
    by_set: dict[str, dict[str, Score]] = {}
    metric = scores[0].metric if scores else ""
    for score in scores:
        by_set.setdefault(score.set, {})[score.model] = score
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("test set")
    for heading in (f"base {metric}", f"fine-tuned {metric}", "95 % interval", "change, points"):
        table.add_column(heading, justify="right")
    for name, models in by_set.items():
        base = models.pop(BASE, None)
        rows: list[Score | None] = [*models.values()] or [None]
        for tuned in rows:
            table.add_row(Text(printable(_title(name, base, tuned), encoding)), *_cells(base, tuned))
    return table


def comparison_table(scores: Sequence[Score], *, encoding: str = "utf-8") -> Table:
    """Error rates by test set and model, each with its interval and its difference to the baseline."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("test set")
    table.add_column("model")
    metric = scores[0].metric if scores else ""
    for heading in (metric, "95 % interval", "against the baseline", "95 % interval"):
        table.add_column(heading, justify="right")
    last = ""
    for one in scores:
        name = f"{one.set} (old domain)" if one.retention else one.set
        model = f"{one.model} (baseline)" if one.baseline else one.model
        cells = [Text(printable(text, encoding)) for text in (name if name != last else "", model)]
        rate, interval = f"{one.cer:.2f} %", f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(*cells, rate, interval, *_difference(one))
        last = name
    return table


def print_summary(console: Console, scores: Sequence[Score], *, report: str | None = None) -> None:
    """Print the table (if there are scores) and the report's path. In ASCII and unfolded where it is no terminal."""
    table = summary_table(scores, encoding=console.encoding) if scores else None
    _print(console, table, report)


def print_comparison(console: Console, scores: Sequence[Score], *, report: str | None = None) -> None:
    """The same for the models of an evaluation."""
    table = comparison_table(scores, encoding=console.encoding) if scores else None
    _print(console, table, report)


def _print(console: Console, table: Table | None, report: str | None) -> None:
    if table is not None:
        if console.is_terminal:
            console.print(table)
        else:
            table.box = box.ASCII
            Console(file=console.file, width=WIDE, color_system=None).print(table)
    if report is not None:
        text = Text(f"report: {printable(report, console.encoding)}")
        console.print(text, soft_wrap=True, highlight=False)


def _title(name: str, base: Score | None, tuned: Score | None) -> str:
    retention = any(one is not None and one.retention for one in (base, tuned))
    return f"{name} (old domain)" if retention else name


def _cells(base: Score | None, tuned: Score | None) -> tuple[str, str, str, Text]:
    return (
        f"{base.cer:.2f} %" if base else "",
        f"{tuned.cer:.2f} %" if tuned else "",
        f"{tuned.low:.2f} to {tuned.high:.2f}" if tuned else "",
        _difference(tuned)[0] if tuned else Text(""),
    )


def _difference(score: Score) -> tuple[Text, str]:
    """Percentage points with their interval; green or red where the interval leaves no doubt."""
    if score.difference is None or score.difference_low is None or score.difference_high is None:
        return Text(""), ""
    ends = f"{score.difference_low:+.2f} to {score.difference_high:+.2f}"
    return Text(f"{score.difference:+.2f}", style=_STYLES[certain(score)]), ends
