"""The status screen: all about one run, on one page. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from asrtune_api.base import format_decimal
from asrtune_api.evaluation import EvaluationStatus
from asrtune_api.status import BestCer, ConditionStatus, ConditionType, FinetuneStatus, Progress, Usage
from asrtune_operator.decide.progress_status import for_people
from asrtune_operator.kubectl import tables
from asrtune_operator.kubectl.headline import headline
from asrtune_operator.kubectl.runs import RunView
from asrtune_operator.kubectl.words import ago, rate

_BAR: Final = 30
_GATE: Final = {
    ConditionStatus.TRUE: ("passed", "green"),
    ConditionStatus.FALSE: ("not passed", "bold red"),
    ConditionStatus.UNKNOWN: ("not judged yet", "yellow"),
}


def screen(view: RunView, now: datetime) -> RenderableType:
    """All that the status says, the most urgent first."""
    parts = [_head(view, now)]
    for part in _parts(view, now):
        parts += ["", part]
    return Group(*parts)


def _parts(view: RunView, now: datetime) -> Iterator[RenderableType]:
    status = view.status
    if status.stages:
        yield tables.stages(status.stages, status.progress, now)
    if status.progress is not None and not view.ended:
        yield _progress(status.progress, now)
    yield from _quality(view)
    if (ends := tables.bad_ends(status.attempts, now)) is not None:
        yield Group(Text("Attempts that ended badly", "bold"), ends)
    if facts := [*_facts(view)]:
        made = Table.grid(padding=(0, 2, 0, 0))
        made.add_column(style="bold")
        made.add_column(overflow="fold")
        for name, value in facts:
            made.add_row(name, Text(value))
        yield made


def _head(view: RunView, now: datetime) -> RenderableType:
    head = headline(view, now)
    line = Text.assemble(
        (f"{view.run.identity.kind} {view.title}", "bold"),
        "   ",
        (head.word, head.style),
        *([("   " + head.reason, head.style)] if head.reason else []),
        (f"   created {ago(view.run.created, now)}", "dim"),
    )
    return Group(line, Padding(Text(head.text), (0, 0, 0, 2), expand=False)) if head.text else line


def _progress(one: Progress, now: datetime) -> RenderableType:
    told = [f"{one.percent} %"]
    if one.step is not None:
        told.append(f"step {one.step:,}" + (f"/{one.total_steps:,}" if one.total_steps else ""))
    if one.eta is not None:
        told.append(f"{one.eta} to go")
    more = []
    if one.loss is not None:
        more.append(f"loss {format_decimal(one.loss)}")
    if one.utterances_per_second is not None:
        more.append(f"{format_decimal(one.utterances_per_second)} utterances/s")
    if one.checkpoint_step is not None:
        when = f", {ago(one.checkpoint_at, now)}" if one.checkpoint_at else ""
        more.append(f"last checkpoint: step {one.checkpoint_step:,}{when}")
    if one.advanced_at is not None:
        more.append(f"last progress {ago(one.advanced_at, now)}")
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_row(Text("Progress", "bold"), ProgressBar(100, one.percent, width=_BAR), "   ".join(told))
    return Group(made, *([Padding(Text("   ".join(more)), (0, 0, 0, 10), expand=False)] if more else []))


def _quality(view: RunView) -> Iterator[RenderableType]:
    status = view.status
    results = status.results if isinstance(status, FinetuneStatus | EvaluationStatus) else []
    parts: list[RenderableType] = []
    if results:
        parts.append(tables.rates(results))
    elif isinstance(status, FinetuneStatus) and status.best_cer is not None:
        parts.append(Text.assemble(("Best CER so far  ", "bold"), _best(status.best_cer)))
    if (gate := view.condition(ConditionType.QUALITY_GATE_PASSED)) is not None:
        word, style = _GATE[gate.status]
        parts.append(Text.assemble(("Quality gate  ", "bold"), (word, style), f"  {gate.message}"))
    if parts:
        yield Group(*parts)


def _best(one: BestCer) -> str:
    interval = (
        f" ({rate(one.low)} to {rate(one.high)})" if one.low is not None and one.high is not None else ""
    )
    return f"{rate(one.percent)} %{interval} on {one.set or 'the validation data'}"


def _facts(view: RunView) -> Iterator[tuple[str, str]]:
    status = view.status
    if status.paused_seconds:
        yield "Suspended before", for_people(status.paused_seconds)
    if status.usage is not None:
        yield "GPU seconds", _usage(status.usage)
    if status.usage is not None and status.usage.cost is not None:
        yield "Cost", f"{status.usage.cost:.2f}"
    if status.artifacts is not None:
        places = status.artifacts
        for name, place in (("Model", places.model), ("Report", places.report), ("Ledger", places.ledger)):
            if place:
                yield name, place
    elif view.output:
        yield "Output", view.output


def _usage(one: Usage) -> str:
    productive = one.gpu_seconds - one.lost_gpu_seconds
    why = ", ".join(f"{lost.reason} {lost.gpu_seconds:,}" for lost in one.lost)
    lost = f"{one.lost_gpu_seconds:,} lost" + (f" ({why})" if why else "")
    return f"{one.gpu_seconds:,} in all: {productive:,} productive, {lost}"
