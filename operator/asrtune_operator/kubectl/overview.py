"""All runs of a namespace as a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from asrtune_api.evaluation import EvaluationStatus
from asrtune_api.status import FinetuneStatus
from asrtune_operator.kubectl.headline import headline
from asrtune_operator.kubectl.runs import RunView
from asrtune_operator.kubectl.tables import table
from asrtune_operator.kubectl.words import between, rate


def overview(views: Sequence[RunView], now: datetime) -> Table:
    """A row a run: how far, how good, how long yet, and why not."""
    made = table(
        "NAME", "PHASE", "STAGE", "DONE", "CER", "TO GO", "LOST GPU S", "AGE", "WHY", right=("DONE", "CER")
    )
    for view in views:
        status, head = view.status, headline(view, now)
        progress = status.progress
        made.add_row(
            Text(str(view.ref)),
            Text(str(status.phase or "New"), head.style),
            status.stage or "",
            f"{progress.percent} %" if progress else "",
            _rate(view),
            (progress.eta or "") if progress else "",
            f"{status.usage.lost_gpu_seconds:,}" if status.usage and status.usage.lost_gpu_seconds else "",
            between(view.run.created, now),
            head.reason,
        )
    return made


def _rate(view: RunView) -> str:
    status = view.status
    if isinstance(status, FinetuneStatus):
        best = status.best_cer
    else:
        best = status.best if isinstance(status, EvaluationStatus) else None
    return f"{rate(best.percent)} %" if best is not None else ""
