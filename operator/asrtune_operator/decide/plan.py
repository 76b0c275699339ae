"""Every decision of the operator: what is to be done for a run, from its spec, its last status and what is observed.

Pure and level-triggered: any order of events, a restart at any line, or a lost status comes to the same end. A second
plan of an applied plan asks for nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from asrtune_api.status import RunStatus
from asrtune_operator.decide.attempts import drive
from asrtune_operator.decide.begin import begin
from asrtune_operator.decide.closing import retire
from asrtune_operator.decide.draft import Draft
from asrtune_operator.decide.news import news
from asrtune_operator.decide.status import status_of
from asrtune_operator.decide.unready import plan_unready
from asrtune_operator.decide.watching import too_long
from asrtune_operator.values.actions import Plan
from asrtune_operator.values.observed import Observed
from asrtune_operator.values.run import Run, Unready

KEPT_WORKLOADS: Final = 2
"""Ended attempts of a stage whose pods stay, so that their logs can be read."""


def plan(run: Run | Unready, status: RunStatus, observed: Observed, now: datetime) -> Plan:
    """Decide what is to be done now.

    Args:
        run: the custom resource, understood.
        status: its last status.
        observed: its children.
        now: the time.
    """
    if isinstance(run, Unready):
        return plan_unready(run, status, observed, now)
    draft = begin(run, status, observed, now)
    if draft.failure is None and not draft.complete:
        _retire_stale(draft)
        _walk(draft)
        _judge_late(draft)
    if draft.failure is not None or draft.complete:
        _finish(draft)
    _tidy(draft)
    after = status_of(draft)
    wait = None if draft.wake is None else max(0.0, (draft.wake - now).total_seconds())
    return Plan(actions=draft.actions, status=after, events=news(status, after), requeue=wait)


def _retire_stale(draft: Draft) -> None:
    """End what runs for an earlier spec."""
    name = draft.run.spec_name
    for workload in draft.observed.workloads:
        if workload.run_spec != name and workload.outcome is None:
            draft.stop(workload, "The spec has changed.")
    keys = {unit.key: unit for unit in draft.run.units}
    for record in draft.attempts:
        unit = keys.get(record.stage)
        if record.finished_at is not None or unit is None:
            continue
        of_it = (record.stage, record.attempt)
        children = [one for one in draft.children() if (one.stage, one.attempt) == of_it]
        if children and all(child.run_spec != name for child in children):
            retire(draft, unit, record)


def _walk(draft: Draft) -> None:
    """The first unit that is not done is under way; those after it wait for it."""
    for unit in draft.run.units:
        draft.current = unit
        if not draft.done(unit):
            drive(draft, unit)
        if not draft.done(unit):
            break
    else:
        draft.complete = True
    _account_suspension(draft)


def _account_suspension(draft: Draft) -> None:
    idle = draft.running is None and draft.wait is None
    if draft.run.suspend and idle and not draft.complete and draft.failure is None:
        draft.suspended_at = draft.suspended_at or draft.now
    elif not draft.run.suspend and draft.suspended_at is not None:
        draft.paused_seconds += round((draft.now - draft.suspended_at).total_seconds())
        draft.suspended_at = None


def _judge_late(draft: Draft) -> None:
    """The total deadline holds between attempts, too; one that lives is ended by `watching`, and counted then."""
    record = draft.record_of(draft.current) if draft.current else None
    between = record is None or record.finished_at is not None
    if draft.failure is None and not draft.complete and draft.suspended_at is None and between:
        late = too_long(draft)
        if late is not None:
            draft.failure = late


def _finish(draft: Draft) -> None:
    draft.finished_at = draft.finished_at or draft.now
    draft.running = None
    draft.wait = None
    for workload in draft.observed.workloads:
        if workload.outcome is None and not draft.succeeded(workload):
            draft.stop(workload, "The run has ended.")
    ttl = draft.run.policy.ttl_seconds_after_finished
    if ttl is None:
        return
    end = draft.finished_at + timedelta(seconds=ttl)
    if draft.now < end:
        draft.look_again(end)
        return
    for workload in draft.observed.workloads:
        draft.stop(workload, "runPolicy.ttlSecondsAfterFinished is over.")


def _tidy(draft: Draft) -> None:
    """Old attempts' workloads go: a run that is preempted a thousand times does not leave a thousand jobs."""
    for unit in draft.run.units:
        newest = draft.attempt_of(unit)
        for workload in draft.observed.workloads:
            if (
                workload.stage == unit.key
                and workload.attempt <= newest - KEPT_WORKLOADS
                and workload.outcome
            ):
                draft.stop(workload, "Newer attempts have taken its place.")
