"""The first step of a plan: what the last status means for the spec as it is now."""

from __future__ import annotations

from datetime import datetime

from asrtune_api.status import (
    ConditionStatus,
    ConditionType,
    FinetuneStatus,
    RunStatus,
    StageState,
    StageStatus,
)
from asrtune_operator.decide.draft import DONE, Draft
from asrtune_operator.decide.verdict import Verdict
from asrtune_operator.values.observed import Observed
from asrtune_operator.values.run import Run


def begin(run: Run, before: RunStatus, observed: Observed, now: datetime) -> Draft:
    """The draft to work on: the last status, or a fresh one for a new spec, a lost status, or a retry."""
    failure, complete = _failure(before), _holds(before, ConditionType.COMPLETE)
    finished = complete or failure is not None
    fresh = before.spec_digest != run.digest if finished else before.run_spec != run.spec_name
    draft = Draft(
        run=run,
        before=before,
        observed=observed,
        now=now,
        stages=_stages(run, before, fresh=fresh),
        attempts=list(before.attempts),
        progress=None if fresh else before.progress,
        results=[] if fresh else list(getattr(before, "results", [])),
        started_at=None if fresh else before.started_at,
        finished_at=None if fresh else before.finished_at,
        suspended_at=before.suspended_at,
        paused_seconds=0 if fresh else before.paused_seconds,
        failure=None if fresh else failure,
        complete=complete and not fresh,
    )
    if run.retry is not None and run.retry != before.retried:
        _try_again(draft)
    return draft


def _stages(run: Run, before: RunStatus, *, fresh: bool) -> dict[str, StageStatus]:
    types = {stage.name: stage.type for stage in run.spec.stages}
    old = {stage.name: stage for stage in before.stages}
    stages = {}
    for name in (name for unit in run.units for name in unit.stages):
        if name in old and not fresh:
            stages[name] = old[name]
        else:
            number = old[name].attempts if name in old else 0
            stages[name] = StageStatus(name=name, type=types[name], state=StageState.PENDING, attempts=number)
    return stages


def _try_again(draft: Draft) -> None:
    """A retry: what is done stays done; a stage that failed or is put off gets its tries anew, and the first at once.

    The deadline of a run that had failed starts again.
    """
    failed = draft.failure is not None
    if failed:
        draft.failure = None
        draft.finished_at = None
        draft.started_at = None
        draft.paused_seconds = 0
    for name, stage in draft.stages.items():
        if stage.state is StageState.INTERRUPTED or (failed and stage.state not in DONE):
            zero = {"retries": 0, "interruptions": 0, "stall_restarts": 0}
            draft.set_stage(name, state=StageState.PENDING, finished_at=None, **zero)


def _holds(before: RunStatus, kind: ConditionType) -> bool:
    return any(one.type is kind and one.status is ConditionStatus.TRUE for one in before.conditions)


def _failure(before: RunStatus) -> tuple[Verdict, str] | None:
    for one in before.conditions:
        if one.type is ConditionType.FAILED and one.status is ConditionStatus.TRUE:
            known = one.reason in set(Verdict)
            return Verdict(one.reason) if known else Verdict.INTERNAL_ERROR, one.message
    return None


def empty_status() -> RunStatus:
    """The status of a run that has none yet."""
    return FinetuneStatus()
