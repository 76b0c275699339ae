"""GPU time: held, lost, and paid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from asrtune_api.base import format_decimal
from asrtune_api.status import AttemptStatus, LostTime, Progress, Usage
from asrtune_api.termination import TerminationMessage
from asrtune_operator.decide.verdict import Verdict
from asrtune_operator.values.observed import PodView

SECONDS_AN_HOUR: Final = 3600


def gpu_seconds(pods: Sequence[PodView], now: datetime, since: datetime | None) -> int:
    """GPU seconds that pods have held: from their containers' start to their end, or to now.

    Args:
        pods: of one attempt.
        now: the time.
        since: when all of them ran, by our clock; where a node's clock cannot be right it counts instead.
    """
    return int(sum(pod.gpus * _ran(pod, now, since or now) for pod in pods if pod.gpus))


def _ran(pod: PodView, now: datetime, since: datetime) -> float:
    """Seconds that a pod's container has run, whatever its node's clock says."""
    started, finished = pod.container.started, pod.container.finished
    if started is None:
        return 0.0
    if finished is not None:  # both by one clock, unless it was set meanwhile
        return min(max(0.0, (finished - started).total_seconds()), (now - pod.created).total_seconds())
    return (now - (started if pod.created <= started <= now else since)).total_seconds()


def lost_gpu_seconds(
    record: AttemptStatus, verdict: Verdict, progress: Progress | None, said: TerminationMessage | None
) -> int:
    """GPU seconds of a closed attempt whose work has to be done again: what lies after its last checkpoint.

    Nothing is lost by an attempt that succeeded, or whose last checkpoint is of the step it had reached.
    """
    if verdict is Verdict.SUCCEEDED or not record.gpu_seconds or record.finished_at is None:
        return 0
    since = record.started_at or record.created_at
    saved = progress.checkpoint_at if progress is not None else None
    if said is not None and said.checkpoint is not None:
        if said.checkpoint.step == said.step:
            return 0
        saved = datetime.fromtimestamp(said.checkpoint.time, UTC) if said.checkpoint.time else None
    if saved is not None:
        since = max(since, min(saved, record.finished_at))
    held = (record.finished_at - (record.started_at or record.created_at)).total_seconds()
    lost = (record.finished_at - since).total_seconds()
    return (
        min(record.gpu_seconds, round(record.gpu_seconds * lost / held)) if held > 0 else record.gpu_seconds
    )


def usage_of(
    before: Usage | None, known: Sequence[AttemptStatus], now: Sequence[AttemptStatus], price: float | None
) -> Usage | None:
    """What the run has cost: the last figure, and what its attempts have come to since.

    Args:
        before: the last figure; attempts that are no longer listed stay in it.
        known: the records when it was made.
        now: the records now.
        price: of one GPU hour.
    """
    old = {(one.stage, one.attempt, one.created_at): one for one in known}
    total = before.gpu_seconds if before else 0
    lost = {one.reason: one.gpu_seconds for one in before.lost} if before else {}
    for one in now:
        past = old.get((one.stage, one.attempt, one.created_at)) if before else None
        total += one.gpu_seconds - (past.gpu_seconds if past else 0)
        wasted = one.lost_gpu_seconds - (past.lost_gpu_seconds if past else 0)
        if wasted and one.verdict:
            lost[one.verdict] = lost.get(one.verdict, 0) + wasted
    if not total:
        return before
    document: dict[str, object] = {
        "gpu_seconds": total,
        "lost_gpu_seconds": sum(lost.values()),
        "lost": [LostTime(reason=reason, gpu_seconds=seconds) for reason, seconds in lost.items()],
    }
    if price is not None:
        document["cost"] = format_decimal(round(total * price / SECONDS_AN_HOUR, 4))
    return Usage.model_validate(document)
