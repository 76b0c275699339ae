"""The plan for a run that cannot be planned: its spec is wrong, or something that it names is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from asrtune_api.status import ConditionStatus, ConditionType, Phase, RunStatus
from asrtune_operator.decide.news import news
from asrtune_operator.decide.status import Fact, conditions
from asrtune_operator.decide.verdict import Verdict
from asrtune_operator.values.actions import Action, DeleteWorkload, Plan
from asrtune_operator.values.observed import Observed
from asrtune_operator.values.run import Unready


def plan_unready(run: Unready, status: RunStatus, observed: Observed, now: datetime) -> Plan:
    """A wrong spec fails the run; a missing thing is waited for, up to the start deadline.

    What ran for an earlier spec is ended. A run that has ended stays so, as long as its spec is the same.
    """
    ended = status.phase in {Phase.SUCCEEDED, Phase.FAILED} and status.observed_generation == run.generation
    retried = run.retry is not None and run.retry != status.retried
    if ended and not (retried and run.wait is not None):
        return Plan(actions=(), status=status)
    alive = any(one.outcome is None for one in observed.workloads)
    if run.wait is not None and alive:
        return Plan(actions=(), status=status)  # what runs already has all that it needs
    problem = _problem(run, status, now)
    actions: list[Action] = []
    if problem is not None:
        actions = [
            DeleteWorkload(one, "The spec is wrong.")
            for one in observed.workloads
            if one.outcome is None and not one.deleting
        ]
    after = status.model_copy(
        update={
            "observed_generation": run.generation,
            "phase": Phase.FAILED if problem else Phase.PENDING,
            "conditions": conditions(status, _facts(run, problem), now, run.generation),
            "finished_at": (status.finished_at if ended else now) if problem else None,
            "retried": run.retry,
        }
    )
    limit = run.start_deadline_seconds
    return Plan(
        actions=actions,
        status=after,
        events=news(status, after),
        requeue=None
        if problem or limit is None
        else max(1.0, limit - _waited(status, run, now).total_seconds()),
    )


def _problem(run: Unready, status: RunStatus, now: datetime) -> tuple[Verdict, str] | None:
    if run.wait is None:
        return Verdict.SPEC_INVALID, f"{run.problem} {run.remedy}".strip()
    limit = run.start_deadline_seconds
    if limit is not None and _waited(status, run, now).total_seconds() >= limit:
        return Verdict.NOT_STARTED, (
            f"It did not run within runPolicy.startDeadlineSeconds ({limit} s): {run.wait.message}"
        )
    return None


def _waited(status: RunStatus, run: Unready, now: datetime) -> timedelta:
    for one in status.conditions:
        if one.type is ConditionType.RUNNING and one.status is ConditionStatus.FALSE:
            return now - one.last_transition_time
    return now - run.created


def _facts(run: Unready, problem: tuple[Verdict, str] | None) -> Iterator[Fact]:
    if problem is not None:
        yield ConditionType.RUNNING, False, "Finished", "The run has ended."
        yield ConditionType.FAILED, True, *problem
    elif run.wait is not None:
        yield ConditionType.RUNNING, False, run.wait.reason, run.wait.message
