"""One unit of the chain: its attempts are made, followed, ended and counted here."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from asrtune_api.gate import GateAction, QualityGate, judge
from asrtune_api.status import AttemptStatus, StageState
from asrtune_operator.decide.closing import close, lives_on
from asrtune_operator.decide.draft import Draft
from asrtune_operator.decide.verdict import Fault, Verdict, gang_end
from asrtune_operator.decide.watching import Decision, asked_to_end, too_long, waits, watch
from asrtune_operator.values.actions import CreateGang
from asrtune_operator.values.observed import Outcome, Wait, WaitReason, WorkloadView
from asrtune_operator.values.units import Unit

SETTLING: Final = timedelta(seconds=10)
"""How old an attempt must be before nothing to be seen of it means that somebody deleted it."""
PATIENCE: Final = timedelta(seconds=30)
"""How long the rest of a gang may take to end by itself once one pod has failed: its messages say more then."""
ENDING_SECONDS: Final = 15
"""How often an attempt that ends is looked at, whatever the watches tell."""
SHORT_LIVED: Final = timedelta(seconds=60)
LONGEST_BACKOFF: Final = 600
_AFTER_THE_GATE: Final = (
    "Its checkpoints stay. Train more or better, or change spec.qualityGate, and apply again."
)


def drive(draft: Draft, unit: Unit) -> None:
    """Take a unit that is not done one step further."""
    record = _recovered(draft, unit)
    if record is not None and record.finished_at is None:
        record = _follow(draft, unit, record)
        if record.finished_at is None:
            return
    if draft.done(unit) or draft.failure is not None:
        return
    if record is not None and lives_on(draft, unit, record):
        _queue_again(draft, unit, record)
        return
    _start(draft, unit, record)


def _recovered(draft: Draft, unit: Unit) -> AttemptStatus | None:
    """The newest record; those of attempts that are observed but were never written down are made up for."""
    record = draft.record_of(unit)
    name = draft.run.spec_name
    own = [one for one in draft.children() if (one.stage, one.run_spec) == (unit.key, name)]
    known = record.attempt if record is not None else 0
    for number in sorted({one.attempt for one in own if one.attempt > known}):
        if record is not None and record.finished_at is None:
            _close_former(draft, unit, record)
        made = min(one.created for one in own if one.attempt == number)
        record = AttemptStatus(
            stage=unit.key, attempt=number, backend=draft.run.backend_of(unit), created_at=made
        )
        draft.add_record(record)
        draft.set_stage(unit.key, attempts=number)
    return record


def _close_former(draft: Draft, unit: Unit, record: AttemptStatus) -> None:
    """The next attempt was made, but the end of this one was never written down: it counts all the same."""
    workload, pods = draft.workload(unit, record.attempt), draft.pods(unit, record.attempt)
    end = gang_end(workload, pods, draft.observed.lost_nodes, size=unit.nodes)
    if record.verdict is not None:
        close(draft, unit, record, Verdict(record.verdict), record.message)
    elif end is not None:
        close(draft, unit, record, end.verdict, end.message, said=end.said)
    else:
        close(draft, unit, record, Verdict.DELETED, "Somebody deleted the workload or its pods.")


def _follow(draft: Draft, unit: Unit, record: AttemptStatus) -> AttemptStatus:
    """See what became of a living attempt. Returns its record as it is then."""
    workload, pods = draft.workload(unit, record.attempt), draft.pods(unit, record.attempt)
    alive = [pod for pod in pods if draft.alive(pod)]
    gone = [pod for pod in draft.observed.gone if (pod.stage, pod.attempt) == (unit.key, record.attempt)]
    failed = workload is not None and workload.outcome is Outcome.FAILED  # then any of them may say why
    counted = pods if failed else draft.counted(unit, record)
    end = gang_end(workload, counted, draft.observed.lost_nodes, size=unit.nodes, gone=gone)
    if end is not None and end.verdict is Verdict.SUCCEEDED:
        return close(draft, unit, record, end.verdict, end.message, said=end.said)
    if workload is not None and workload.suspended and workload.outcome is None and record.verdict is None:
        return _suspended(draft, unit, record, workload)
    if end is not None and (record.verdict is None or end.verdict.telling < Verdict(record.verdict).telling):
        text = f"{end.message} {end.remedy}".strip()
        record = _judged(draft, record, end.verdict, text)
    vanished = workload is None and not alive
    if record.verdict is None and vanished and draft.now - record.created_at >= SETTLING:
        record = _judged(draft, record, Verdict.DELETED, "Somebody deleted the workload or its pods.")
    if record.verdict is None and vanished:
        draft.wait = Wait(WaitReason.CREATED, "The pods are being made.")
        draft.look_again(record.created_at + SETTLING)
        return record
    if record.verdict is None:
        return _decided(draft, unit, record, watch(draft, unit, record))
    return _end(draft, unit, record)


def _suspended(draft: Draft, unit: Unit, record: AttemptStatus, workload: WorkloadView) -> AttemptStatus:
    """Its pods are taken away, however they end on their way: a gang that ran is over, another one has not begun."""
    if record.started_at is None:
        return _decided(draft, unit, record, asked_to_end(draft) or waits(draft, record))
    queue = workload.queue
    if any(draft.alive(pod) for pod in draft.pods(unit, record.attempt)):
        why = "its quota was taken back" if queue else "its workload was suspended"
        draft.wait = Wait(WaitReason.QUOTA_EXHAUSTED, f"{why}; its pods save and end.")
        return _decided(draft, unit, record, asked_to_end(draft) or too_long(draft))
    told = (queue.message if queue else "") or "its workload was suspended"
    text = f"The queue took the quota back: {told}." if queue else "Somebody has suspended its workload."
    return close(draft, unit, record, Verdict.PREEMPTED, text)


def _decided(draft: Draft, unit: Unit, record: AttemptStatus, decision: Decision | None) -> AttemptStatus:
    """A living attempt goes on, unless it is to be ended."""
    record = draft.record_of(unit) or record
    return record if decision is None else _end(draft, unit, _judged(draft, record, *decision))


def _judged(draft: Draft, record: AttemptStatus, verdict: Verdict, message: str) -> AttemptStatus:
    changed = record.model_copy(update={"verdict": verdict.value, "message": message[:1024]})
    draft.replace_record(record, changed)
    return changed


def _end(draft: Draft, unit: Unit, record: AttemptStatus) -> AttemptStatus:
    """Bring an attempt with a verdict to its end: nothing of it may be alive when the next one starts."""
    workload, pods = draft.workload(unit, record.attempt), draft.pods(unit, record.attempt)
    alive = [pod for pod in pods if draft.alive(pod)]
    verdict = Verdict(record.verdict or Verdict.INTERNAL_ERROR)
    draft.wait = Wait(
        WaitReason.PREVIOUS_ATTEMPT_ENDING,
        f"Attempt {record.attempt} of {unit.key} ends ({verdict}): {len(alive)} of its pods still save and stop.",
    )
    ended = workload is None or workload.deleting or workload.outcome is not None
    if not alive and ended:
        return close(draft, unit, record, verdict, record.message)
    if workload is not None and not workload.deleting:
        first = min((pod.container.finished for pod in pods if pod.container.finished), default=None)
        # By its node's clock, which may be wrong: then nothing is waited for.
        known = first is not None and (record.started_at or record.created_at) <= first <= draft.now
        by_itself = verdict.fault in {Fault.PASSING, Fault.CLUSTER, Fault.USER} and known
        if by_itself and first is not None and draft.now < first + PATIENCE:
            draft.look_again(first + PATIENCE)
        else:
            draft.stop(workload, record.message)
    draft.look_in(ENDING_SECONDS)
    return record


def _queue_again(draft: Draft, unit: Unit, record: AttemptStatus) -> None:
    """A queue took an attempt's quota back and may give it another: the same workload, another gang of pods."""
    again = AttemptStatus(
        stage=unit.key, attempt=record.attempt, backend=record.backend, created_at=draft.now
    )
    draft.add_record(again)
    draft.set_stage(unit.key, state=StageState.PENDING)
    _follow(draft, unit, again)


def _start(draft: Draft, unit: Unit, record: AttemptStatus | None) -> None:
    """Make the next attempt as soon as it is wanted, due, and nothing is in its way."""
    if draft.run.suspend:
        return
    if _held_back(draft, unit):
        return
    if (
        wait := _in_the_way(draft, unit) or _too_early(draft, unit, record) or draft.observed.refused
    ) is not None:
        draft.wait = wait
        return
    number = draft.attempt_of(unit) + 1
    draft.actions.append(CreateGang(unit, number))
    draft.add_record(
        AttemptStatus(
            stage=unit.key, attempt=number, backend=draft.run.backend_of(unit), created_at=draft.now
        )
    )
    for name in unit.stages:
        draft.set_stage(name, state=StageState.PENDING)
    draft.set_stage(unit.key, attempts=number)
    draft.wait = Wait(WaitReason.CREATED, "The pods are being made.")
    draft.look_again(draft.now + SETTLING)


def _held_back(draft: Draft, unit: Unit) -> bool:
    """Whether the gate keeps a model from being published; the run has failed then."""
    gate = draft.run.gate
    if not unit.publishes or not isinstance(gate, QualityGate) or gate.on_failure is GateAction.REPORT:
        return False
    said = judge(gate, draft.results)
    if said.passed:
        return False
    draft.failure = (
        Verdict.QUALITY_GATE_FAILED,
        f"The model is not published: {said.message} {_AFTER_THE_GATE}",
    )
    return True


def _in_the_way(draft: Draft, unit: Unit) -> Wait | None:
    """Anything alive that another gang of this run must not meet."""
    if draft.observed.former:
        names = ", ".join(draft.observed.former[:3])
        return Wait(
            WaitReason.EARLIER_RUN_ENDING,
            f"A deleted run of the same name still ends ({names}); its pods may be saving a checkpoint.",
        )
    pods = [pod.name for pod in draft.observed.pods if draft.alive(pod)]
    stale = [
        one.name
        for one in draft.observed.workloads
        if one.outcome is None and not one.deleting and not draft.succeeded(one)
    ]
    if not pods and not stale:
        return None
    names = ", ".join([*pods, *stale][:3])
    return Wait(WaitReason.PREVIOUS_ATTEMPT_ENDING, f"{unit.key} starts when {names} ended.")


def _too_early(draft: Draft, unit: Unit, record: AttemptStatus | None) -> Wait | None:
    """The back-off after an attempt that ended badly."""
    stage = draft.stages[unit.key]
    if record is None or record.finished_at is None or stage.state is not StageState.INTERRUPTED:
        return None
    fault = Verdict(record.verdict).fault if record.verdict else Fault.NONE
    lived = record.finished_at - record.started_at if record.started_at else timedelta(0)
    if fault is Fault.PASSING:
        times = stage.retries
    elif fault is Fault.CLUSTER and lived < SHORT_LIVED:
        times = stage.interruptions
    else:
        return None
    seconds = min(LONGEST_BACKOFF, draft.run.policy.backoff_seconds * 2 ** min(max(times - 1, 0), 10))
    due = record.finished_at + timedelta(seconds=seconds)
    if draft.now >= due:
        return None
    draft.look_again(due)
    return Wait(
        WaitReason.BACKING_OFF,
        f"{unit.key} is tried again at {due:%H:%M:%S} UTC after {record.verdict}: {record.message}",
    )
