"""The tables of the status screen: stages, error rates, attempts that ended badly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from asrtune_api.scores import Score, certain
from asrtune_api.stages import StageType
from asrtune_api.status import AttemptStatus, Progress, StageState, StageStatus
from asrtune_operator.decide.verdict import Fault, Verdict
from asrtune_operator.kubectl.words import ago, rate, signed, took

_STYLES: Final = {
    StageState.PENDING: "dim",
    StageState.RUNNING: "green",
    StageState.INTERRUPTED: "yellow",
    StageState.SKIPPED: "dim",
    StageState.SUCCEEDED: "bold green",
    StageState.FAILED: "bold red",
}
_CERTAIN: Final = {-1: "green", 0: "", 1: "red"}
_TOLD: Final[Mapping[StageType, Mapping[str, str]]] = {
    StageType.PREPARE: {
        "utterances": "{:,.0f} utterances",
        "trainHours": "{:,.1f} h to train on",
        "rejected": "{:,.0f} rejected",
    },
    StageType.SIMULATE: {"simulated": "{:,.0f} simulated", "simulatedHours": "{:,.1f} h"},
    StageType.TRAIN: {"steps": "{:,.0f} steps", "loss": "best loss {:.4g}", "cer": "validation CER {:.2f} %"},
    StageType.AVERAGE: {"checkpoints": "mean of {:,.0f} checkpoints"},
    StageType.EXPORT: {"bytes": "{:,.0f} bytes"},
}
"""The metrics that say most, by the names that stages give them."""
_OF_SOME: Final = {"trainHours"}
"""What is 0 where it does not apply: an evaluation trains on nothing."""


def table(*headings: str, right: Sequence[str] = ()) -> Table:
    """An empty table; numbers stand at the right."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return made


def stages(there: Sequence[StageStatus], progress: Progress | None, now: datetime) -> Table:
    """Each stage: how far, how often, how long, what came of it."""
    made = table("STAGE", "TYPE", "STATE", "ATTEMPTS", "TIME", "RESULT")
    for one in there:
        running = one.state is StageState.RUNNING
        far = f"{progress.stage_percent:.0f} %" if running and progress and progress.stage_percent else ""
        made.add_row(
            one.name,
            one.type,
            Text(one.state, _STYLES[one.state]),
            _attempts(one),
            took(one, now) if running or one.finished_at else "",
            far or _result(one),
        )
    return made


def rates(scores: Sequence[Score]) -> Table:
    """Error rates by set and model, with 95 % intervals and the difference to the baseline."""
    numbers = ("RATE", "95 % INTERVAL", "VS BASELINE", "95 % INTERVAL ")
    made = table("TEST SET", "MODEL", *numbers, "UTTERANCES", right=(*numbers, "UTTERANCES"))
    last = ""
    for one in scores:
        name = f"{one.set} (old domain)" if one.retention else one.set
        made.add_row(
            Text(name if name != last else ""),
            Text(one.model),
            f"{one.metric} {rate(one.cer)} %",
            f"{rate(one.low)} to {rate(one.high)}",
            *_difference(one),
            f"{one.utterances:,}",
        )
        last = name
    return made


def bad_ends(attempts: Sequence[AttemptStatus], now: datetime) -> Table | None:
    """Attempts that nobody wanted to end, the newest first; None where there is none."""
    bad = [one for one in attempts if one.verdict and one.finished_at and not _wanted(one.verdict)]
    if not bad:
        return None
    made = table("ATTEMPT", "ENDED", "VERDICT", "LOST GPU S", "WHY", right=("LOST GPU S",))
    for one in sorted(bad, key=lambda one: one.created_at, reverse=True):
        end = ago(one.finished_at, now) if one.finished_at else ""
        verdict = Text(str(one.verdict), "yellow")
        made.add_row(
            f"{one.stage} {one.attempt}", end, verdict, f"{one.lost_gpu_seconds:,}", Text(one.message)
        )
    return made


def _attempts(one: StageStatus) -> str:
    parts = {
        "failed": one.retries,
        "interrupted": one.interruptions,
        "stalled": one.stall_restarts,
    }
    told = ", ".join(f"{number} {word}" for word, number in parts.items() if number)
    return f"{one.attempts}{f' ({told})' if told else ''}" if one.attempts else ""


def _result(one: StageStatus) -> str:
    told = _TOLD.get(one.type, {})
    known = [key for key in told if key in one.metrics and (one.metrics[key] or key not in _OF_SOME)]
    return ", ".join(told[key].format(one.metrics[key]) for key in known)


def _difference(one: Score) -> tuple[Text, str]:
    if one.baseline:
        return Text("baseline", "dim"), ""
    if one.difference is None:
        return Text(""), ""
    sure = one.difference_low is not None and one.difference_high is not None
    interval = f"{signed(one.difference_low or 0)} to {signed(one.difference_high or 0)}" if sure else ""
    return Text(signed(one.difference), _CERTAIN[certain(one)]), interval


def _wanted(verdict: str) -> bool:
    return verdict in set(Verdict) and Verdict(verdict).fault in {Fault.NONE, Fault.ASKED}
