"""A living attempt: is it to be stopped, does it wait, does it advance?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from asrtune_api.status import AttemptStatus, StageState
from asrtune_operator.decide.draft import DONE, Draft
from asrtune_operator.decide.progress_status import advance, standing
from asrtune_operator.decide.usage import gpu_seconds
from asrtune_operator.decide.verdict import Verdict
from asrtune_operator.values.observed import PodView, Wait, WaitReason
from asrtune_operator.values.units import Unit

Decision = tuple[Verdict, str]

_TOO_LATE: Final = {
    WaitReason.GPUS_UNAVAILABLE: Verdict.UNSCHEDULABLE,
    WaitReason.RESOURCES_UNAVAILABLE: Verdict.UNSCHEDULABLE,
    WaitReason.NODE_SELECTOR_UNMATCHED: Verdict.UNSCHEDULABLE,
    WaitReason.TAINT_UNTOLERATED: Verdict.UNSCHEDULABLE,
    WaitReason.TOPOLOGY_UNSATISFIED: Verdict.UNSCHEDULABLE,
    WaitReason.QUOTA_EXHAUSTED: Verdict.QUEUED_TOO_LONG,
    WaitReason.QUEUE_NOT_FOUND: Verdict.QUEUED_TOO_LONG,
    WaitReason.QUEUE_INACTIVE: Verdict.QUEUED_TOO_LONG,
    WaitReason.IMAGE_UNAVAILABLE: Verdict.IMAGE_PULL,
}


def watch(draft: Draft, unit: Unit, record: AttemptStatus) -> Decision | None:
    """Look at a living attempt: its record and the unit's stages are brought up to date.

    Returns:
        Verdict and message if it is to be ended.
    """
    if (asked := asked_to_end(draft)) is not None:
        return asked
    pods = draft.counted(unit, record)
    started = [pod for pod in pods if pod.begun]
    whole = len(started) >= unit.nodes
    since = record.started_at or (_begun(draft, started) if whole else None)
    held = max(record.gpu_seconds, gpu_seconds(pods, draft.now, since))
    changed = record.model_copy(update={"gpu_seconds": held, "started_at": since})
    draft.replace_record(record, changed)
    if not whole:
        return waits(draft, changed)
    _runs(draft, unit, changed)
    return too_long(draft) or _stalled(draft, unit, changed)


def _begun(draft: Draft, started: Sequence[PodView]) -> datetime:
    """When the last of them began. A node's clock may be wrong: what it tells lies between two times of our own."""
    told = [pod.container.started for pod in started if pod.container.started]
    return min(max([*told, *(pod.created for pod in started)]), draft.now) if told else draft.now


def asked_to_end(draft: Draft) -> Decision | None:
    """Whether the run is to be suspended."""
    if not draft.run.suspend:
        return None
    return Verdict.SUSPENDED, "spec.suspend is true: it saves a checkpoint and releases its GPUs."


def waits(draft: Draft, record: AttemptStatus) -> Decision | None:
    """An attempt whose pods do not all run: what it waits for, and whether that takes too long."""
    draft.progress = standing(draft.progress)
    draft.wait = draft.observed.wait or Wait(WaitReason.CREATED, "The pods are being made.")
    return too_late(draft, record.created_at, draft.wait) or too_long(draft)


def too_late(draft: Draft, since: datetime, wait: Wait) -> Decision | None:
    """Whether the wait for pods is over the limit of the run policy."""
    limit = draft.run.policy.start_deadline_seconds
    if limit is None:
        return None
    end = since + timedelta(seconds=limit)
    if draft.now < end:
        draft.look_again(end)
        return None
    verdict = _TOO_LATE.get(wait.reason, Verdict.NOT_STARTED)
    return verdict, f"It did not run within runPolicy.startDeadlineSeconds ({limit} s): {wait.message}"


def _runs(draft: Draft, unit: Unit, record: AttemptStatus) -> None:
    draft.running = unit
    if draft.started_at is None:
        draft.started_at = record.started_at
    advance(draft, unit, record)
    first = draft.stages[unit.key]
    if first.state not in DONE:
        draft.set_stage(unit.key, state=StageState.RUNNING)
    if first.started_at is None:
        draft.set_stage(unit.key, started_at=record.started_at)


def too_long(draft: Draft) -> Decision | None:
    """Whether the run is over its deadline."""
    limit = draft.run.policy.deadline_seconds
    if limit is None or draft.started_at is None:
        return None
    end = draft.started_at + timedelta(seconds=limit + draft.paused_seconds)
    if draft.now < end:
        draft.look_again(end)
        return None
    return Verdict.DEADLINE_EXCEEDED, f"The run was not done within runPolicy.deadlineSeconds ({limit} s)."


def _stalled(draft: Draft, unit: Unit, record: AttemptStatus) -> Decision | None:
    """No progress for too long. Only where progress was seen before: who cannot be read is not known to hang."""
    limit = draft.run.policy.stall_timeout_seconds
    since = draft.progress.advanced_at if draft.progress else None
    if since is None or record.started_at is None:
        return None
    end = max(since, record.started_at) + timedelta(seconds=limit)
    if draft.now < end:
        draft.look_again(end)
        return None
    step = draft.progress.step if draft.progress and unit.trains else None
    at = f" at step {step}" if step else ""
    return Verdict.STALLED, f"{unit.key} has made no progress for {limit} s{at}; its pods ran all the while."
