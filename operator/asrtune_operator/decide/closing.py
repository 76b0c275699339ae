"""The end of an attempt is written down: what it cost, what it leaves, and whether the run goes on."""

from __future__ import annotations

from datetime import UTC, datetime

from asrtune_api.status import AttemptStatus, StageState
from asrtune_api.termination import TerminationMessage
from asrtune_operator.decide.draft import Draft
from asrtune_operator.decide.progress_status import standing
from asrtune_operator.decide.results import take_results
from asrtune_operator.decide.usage import gpu_seconds, lost_gpu_seconds
from asrtune_operator.decide.verdict import End, Fault, Verdict, gang_end
from asrtune_operator.values.units import Unit


def close(
    draft: Draft,
    unit: Unit,
    record: AttemptStatus,
    verdict: Verdict,
    message: str,
    *,
    said: TerminationMessage | None = None,
) -> AttemptStatus:
    """Write down how an attempt ended, count it, and decide whether the stage is done, failed, or tried again.

    Returns:
        The closed record.
    """
    closed = _ended(draft, unit, record, verdict, message)
    if verdict is Verdict.SUCCEEDED:
        take_results(draft, unit, closed, said)
    else:
        _count(draft, unit, verdict, message, closed.finished_at or draft.now)
    return closed


def retire(draft: Draft, unit: Unit, record: AttemptStatus) -> None:
    """Write down the end of an attempt at an earlier spec: nothing of it counts for the one that holds now."""
    workload, pods = draft.workload(unit, record.attempt), draft.pods(unit, record.attempt)
    end = gang_end(workload, pods, draft.observed.lost_nodes, size=unit.nodes)
    end = end or End(Verdict.SPEC_CHANGED, "The spec has changed.")
    _ended(draft, unit, record, end.verdict, end.message)
    draft.set_stage(unit.key, state=StageState.PENDING)


def _ended(draft: Draft, unit: Unit, record: AttemptStatus, verdict: Verdict, message: str) -> AttemptStatus:
    """The record of an attempt that has ended, with what it cost."""
    pods = draft.pods(unit, record.attempt)
    said = _leaders_words(draft, unit, record)
    if said is not None:
        _take_checkpoint(draft, said)
    closed = record.model_copy(
        update={
            "verdict": verdict.value,
            "message": message[:1024],
            "finished_at": _finished(draft, unit, record),
            "gpu_seconds": max(record.gpu_seconds, gpu_seconds(pods, draft.now, record.started_at)),
        }
    )
    lost = lost_gpu_seconds(closed, verdict, draft.progress, said)
    closed = closed.model_copy(update={"lost_gpu_seconds": lost})
    draft.replace_record(record, closed)
    draft.progress = standing(draft.progress)
    return closed


def _leaders_words(draft: Draft, unit: Unit, record: AttemptStatus) -> TerminationMessage | None:
    """What the leader said at its end, also where the operator, the queue or a node ended the gang."""
    gone = [one for one in draft.observed.gone if (one.stage, one.attempt) == (unit.key, record.attempt)]
    leaders = (one for one in (*draft.pods(unit, record.attempt), *gone) if not one.rank)
    said = (TerminationMessage.decode(one.container.message) for one in leaders if one.container.message)
    return next((one for one in said if one is not None), None)


def _take_checkpoint(draft: Draft, said: TerminationMessage) -> None:
    """What was saved on the way out was too late for /progress."""
    saved = said.checkpoint
    if saved is None or draft.progress is None:
        return
    at = datetime.fromtimestamp(saved.time, UTC).replace(microsecond=0) if saved.time else None
    draft.progress = draft.progress.model_copy(
        update={
            "step": said.step or draft.progress.step,
            "checkpoint_step": saved.step,
            "checkpoint_at": at or draft.progress.checkpoint_at,
        }
    )


def lives_on(draft: Draft, unit: Unit, record: AttemptStatus) -> bool:
    """Whether a closed attempt's workload waits in its queue for another gang."""
    workload = draft.workload(unit, record.attempt)
    return (
        record.verdict == Verdict.PREEMPTED
        and workload is not None
        and workload.outcome is None
        and not workload.deleting
    )


def _finished(draft: Draft, unit: Unit, record: AttemptStatus) -> datetime:
    ends = [pod.container.finished for pod in draft.pods(unit, record.attempt) if pod.container.finished]
    last = max(ends, default=draft.now)
    # By its node's clock, which may be wrong.
    return last if (record.started_at or record.created_at) <= last <= draft.now else draft.now


def _count(draft: Draft, unit: Unit, verdict: Verdict, message: str, at: datetime) -> None:
    stage, policy = draft.stages[unit.key], draft.run.policy
    fault = verdict.fault
    counter, limit = {
        Fault.PASSING: ("retries", policy.max_retries),
        Fault.STALL: ("stall_restarts", policy.max_stall_restarts),
        Fault.CLUSTER: ("interruptions", policy.max_interruptions),
    }.get(fault, ("", None))
    state = StageState.FAILED if fault is Fault.USER else StageState.INTERRUPTED
    if counter:
        used = getattr(stage, counter)
        if limit is not None and used >= limit:
            state = StageState.FAILED
            if limit:
                message = (
                    f"{message} That was attempt {stage.attempts}; {used} of {limit} restarts are used up."
                )
        else:
            draft.set_stage(unit.key, **{counter: used + 1})
    for name in unit.stages:
        if draft.stages[name].state in {StageState.PENDING, StageState.RUNNING, StageState.INTERRUPTED}:
            draft.set_stage(name, state=StageState.PENDING if name != unit.key else state)
    if state is StageState.FAILED:
        draft.set_stage(unit.key, finished_at=at)
        draft.failure = (verdict, message)
