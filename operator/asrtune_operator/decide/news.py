"""News for `kubectl describe`: what changed between two statuses, one event for each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from asrtune_api.status import AttemptStatus, Condition, ConditionStatus, ConditionType, RunStatus
from asrtune_operator.decide.verdict import Fault, Verdict
from asrtune_operator.values.actions import Event, EventType
from asrtune_operator.values.observed import WaitReason

_QUIET = frozenset(
    {
        WaitReason.CREATED,
        WaitReason.CONTAINER_CREATING,
        WaitReason.PREVIOUS_ATTEMPT_ENDING,
        WaitReason.GANG_INCOMPLETE,
    }
)


def news(before: RunStatus, after: RunStatus) -> Sequence[Event]:
    """Events for what is new in a status; none where nothing is."""
    return [*_attempts(before, after), *_waits(before, after), *_ends(before, after)]


def _attempts(before: RunStatus, after: RunStatus) -> Iterator[Event]:
    known = {key: one for key, _, one in gangs(before)}
    for key, occasion, one in gangs(after):
        old = known.get(key)
        what = f"{one.stage}, attempt {one.attempt}"
        if old is None:
            yield Event(EventType.NORMAL, "AttemptCreated", f"{what}: {one.backend} made.", occasion)
        if one.started_at is not None and (old is None or old.started_at is None):
            yield Event(EventType.NORMAL, "AttemptRunning", f"{what}: all pods run.", occasion)
        if one.finished_at is not None and (old is None or old.finished_at is None):
            yield _ended(one, what, occasion)


def gangs(status: RunStatus) -> Iterator[tuple[str, str, AttemptStatus]]:
    """Each record of an attempt, with what sets it apart from every other, and the occasion of its news.

    A queue may take an attempt's pods and make them anew, twice within a second; and the oldest records go.
    """
    count: Counter[str] = Counter()
    known: set[str] = set()
    for one in status.attempts:
        attempt = f"{one.stage}/{one.attempt}"
        made = f"{attempt}/{one.created_at.isoformat()}"
        count[made] += 1
        key = f"{made}/{count[made]}"
        yield key, key if attempt in known else attempt, one
        known.add(attempt)


def _ended(one: AttemptStatus, what: str, occasion: str) -> Event:
    verdict = Verdict(one.verdict) if one.verdict else Verdict.INTERNAL_ERROR
    kind = EventType.NORMAL if verdict.fault in {Fault.NONE, Fault.ASKED} else EventType.WARNING
    return Event(kind, f"Attempt{verdict}", f"{what}: {one.message}", occasion)


def _waits(before: RunStatus, after: RunStatus) -> Iterator[Event]:
    """A cause that comes and goes is told once an attempt."""
    now, then = _condition(after, ConditionType.RUNNING), _condition(before, ConditionType.RUNNING)
    if now is None or now.status is not ConditionStatus.FALSE or now.reason not in set(WaitReason) - _QUIET:
        return
    if then is None or then.reason != now.reason:
        newest = [occasion for _, occasion, _ in gangs(after)][-1:]
        yield Event(EventType.WARNING, now.reason, now.message, "/".join([_spec(after), *newest]))


def _ends(before: RunStatus, after: RunStatus) -> Iterator[Event]:
    for kind, event in (
        (ConditionType.SUSPENDED, EventType.NORMAL),
        (ConditionType.QUALITY_GATE_PASSED, EventType.NORMAL),
        (ConditionType.COMPLETE, EventType.NORMAL),
        (ConditionType.FAILED, EventType.WARNING),
    ):
        now, then = _condition(after, kind), _condition(before, kind)
        if now is None or (then is not None and then.status is now.status):
            continue
        if kind is ConditionType.SUSPENDED and now.status is ConditionStatus.FALSE:
            yield Event(EventType.NORMAL, "Resumed", "spec.suspend is false: the run goes on.", _spec(after))
        elif kind is ConditionType.QUALITY_GATE_PASSED and now.status is not ConditionStatus.TRUE:
            if now.status is ConditionStatus.FALSE:
                yield Event(EventType.WARNING, "QualityGateFailed", now.message, _spec(after))
        else:
            yield Event(event, kind, now.message or now.reason, _spec(after))


def _spec(status: RunStatus) -> str:
    return f"{status.observed_generation}/{status.retried or ''}"


def _condition(status: RunStatus, kind: ConditionType) -> Condition | None:
    return next((one for one in status.conditions if one.type is kind), None)
