"""How far a run is: what rank 0 says of its stage, put into the whole chain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from asrtune_api.base import format_decimal
from asrtune_api.shares import SHARES
from asrtune_api.status import AttemptStatus, Progress, StageState
from asrtune_operator.decide.draft import DONE, Draft
from asrtune_operator.values.units import Unit

WAITING: Final = "waiting"
"""Of ProgressDocument.stage_state: for the rest of the gang or for a download, which have time-outs of their own."""

_OF_TRAINING: Final = (
    "step",
    "total_steps",
    "loss",
    "utterances_per_second",
    "checkpoint_step",
    "checkpoint_at",
)
"""Figures that stages after the training have none of, nor one that goes on before it has read its checkpoint: the last
ones stay."""


def advance(draft: Draft, unit: Unit, record: AttemptStatus) -> None:
    """Take what the running attempt said last into the draft's progress and stages."""
    view = draft.observed.progress
    if view is None or (view.stage, view.attempt) != (unit.key, record.attempt):
        return
    if record.started_at is not None and view.read_at < record.started_at:
        return
    said = view.document
    if said.stage in unit.stages:
        _move_stages(draft, unit, said.stage)
    fraction = said.stage_percent / 100 if said.stage in unit.stages else 0.0
    old = draft.progress
    new = Progress.model_validate(
        {
            "percent": percent_of(draft, said.stage or unit.key, fraction),
            "stage_percent": format_decimal(round(100 * fraction, 2)),
            "step": said.step or None,
            "total_steps": said.total_steps or None,
            "eta_seconds": None if said.eta_seconds is None else round(said.eta_seconds),
            "eta": None if said.eta_seconds is None else for_people(said.eta_seconds),
            "loss": _decimal(said.last_loss, 5),
            "utterances_per_second": _decimal(said.throughput.utterances_per_second, 2),
            "checkpoint_step": said.checkpoint_step,
            "checkpoint_at": _time(said.checkpoint_at),
            "advanced_at": view.read_at,
        }
    )
    if old is not None and not (unit.trains and said.step):
        new = new.model_copy(update={name: getattr(old, name) for name in _OF_TRAINING})
        if unit.trains:
            new = new.model_copy(update={"percent": max(new.percent, old.percent)})
    stands = said.stage_state != WAITING and old is not None and _mark(old) == _mark(new)
    if old is not None and old.advanced_at is not None and stands:
        worked = view.worked_at or old.advanced_at
        new = new.model_copy(update={"advanced_at": max(old.advanced_at, worked)})
    draft.progress = new


def standing(progress: Progress | None) -> Progress | None:
    """What is left of it while nothing runs: how long the rest takes depends on when it goes on."""
    gone = ("stage_percent", "eta", "eta_seconds", "advanced_at")
    return progress and progress.model_copy(update=dict.fromkeys(gone))


def percent_of(draft: Draft, stage: str, fraction: float) -> int:
    """Percent of the whole chain that is done when a stage is at a fraction (0 to 1)."""
    total = sum(SHARES[one.type] for one in draft.stages.values())
    done = sum(SHARES[one.type] for one in draft.stages.values() if one.state in DONE)
    here = draft.stages.get(stage)
    under_way = SHARES[here.type] * fraction if here is not None and here.state not in DONE else 0.0
    return int(100 * (done + under_way) / total) if total else 0


def for_people(seconds: float) -> str:
    """A duration as people write it: 45s, 12m, 1h12m, 3d4h."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:  # noqa: PLR2004
        return f"{round(seconds)}s"
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes}m"
    if hours < 48:  # noqa: PLR2004
        return f"{minutes // 60}h{minutes % 60:02d}m"
    return f"{hours // 24}d{hours % 24}h"


def _move_stages(draft: Draft, unit: Unit, running: str) -> None:
    """In a unit of several stages those before the running one are done."""
    for name in unit.stages:
        if name == running:
            if draft.stages[name].state not in DONE:
                draft.set_stage(name, state=StageState.RUNNING)
            return
        if draft.stages[name].state not in DONE:
            draft.set_stage(name, state=StageState.SUCCEEDED)


def _mark(progress: Progress) -> tuple[object, ...]:
    """What changes when a run advances."""
    return progress.step, progress.percent, progress.stage_percent, progress.checkpoint_step


def _decimal(value: float | None, digits: int) -> str | None:
    return None if value is None else format_decimal(round(value, digits))


def _time(unix: float | None) -> datetime | None:
    return None if unix is None else datetime.fromtimestamp(unix, UTC).replace(microsecond=0)
