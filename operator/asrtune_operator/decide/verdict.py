"""How an attempt ended: a closed list, judged from exit codes, termination messages, pods' conditions and nodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asrtune_api.errors import ExitCode
from asrtune_api.termination import TerminationMessage
from asrtune_operator.values.observed import Outcome, PodView, WorkloadView


class Fault(StrEnum):
    """Whose fault an end is, which decides what follows."""

    NONE = "None"
    """Nobody's: it succeeded."""
    USER = "User"
    """Another try fails the same way: the run fails at once."""
    PASSING = "Passing"
    """Another try may succeed: retried with back-off, runPolicy.maxRetries times."""
    CLUSTER = "Cluster"
    """The pods were taken away: started again, without limit unless runPolicy.maxInterruptions says so."""
    STALL = "Stall"
    """It hung: started again, runPolicy.maxStallRestarts times."""
    ASKED = "Asked"
    """Somebody asked for the end (suspend, a changed spec): started again when it is wanted again."""


class Verdict(StrEnum):
    """How an attempt ended. The reasons of the condition Failed are these, too."""

    SUCCEEDED = "Succeeded"
    SPEC_INVALID = "SpecInvalid"
    DATA_INVALID = "DataInvalid"
    OUT_OF_MEMORY = "OutOfMemory"
    DISK_LIMIT_EXCEEDED = "DiskLimitExceeded"
    DIVERGED = "Diverged"
    QUALITY_GATE_FAILED = "QualityGateFailed"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    UNSCHEDULABLE = "Unschedulable"
    QUEUED_TOO_LONG = "QueuedTooLong"
    IMAGE_PULL = "ImagePull"
    NOT_STARTED = "NotStarted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    EVICTED = "Evicted"
    DELETED = "Deleted"
    INTERRUPTED = "Interrupted"
    STALLED = "Stalled"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    INTERNAL_ERROR = "InternalError"
    SUSPENDED = "Suspended"
    SPEC_CHANGED = "SpecChanged"

    @property
    def fault(self) -> Fault:
        """Whose fault it is."""
        return _FAULTS.get(self, Fault.USER)

    @property
    def telling(self) -> int:
        """How much it tells: where the pods of one gang ended differently, the lowest number is the cause."""
        return _TELLING.index(self)


_FAULTS: Final = {
    Verdict.SUCCEEDED: Fault.NONE,
    Verdict.PREEMPTED: Fault.CLUSTER,
    Verdict.NODE_LOST: Fault.CLUSTER,
    Verdict.EVICTED: Fault.CLUSTER,
    Verdict.DELETED: Fault.CLUSTER,
    Verdict.INTERRUPTED: Fault.CLUSTER,
    Verdict.STALLED: Fault.STALL,
    Verdict.STORAGE_UNAVAILABLE: Fault.PASSING,
    Verdict.INTERNAL_ERROR: Fault.PASSING,
    Verdict.SUSPENDED: Fault.ASKED,
    Verdict.SPEC_CHANGED: Fault.ASKED,
}
_TELLING: Final = [
    # what the operator decided stands, whatever the pods say on their way out
    *(Verdict.SUSPENDED, Verdict.SPEC_CHANGED, Verdict.DEADLINE_EXCEEDED, Verdict.UNSCHEDULABLE),
    *(Verdict.QUEUED_TOO_LONG, Verdict.IMAGE_PULL, Verdict.NOT_STARTED, Verdict.STALLED),
    *(Verdict.SPEC_INVALID, Verdict.DATA_INVALID, Verdict.OUT_OF_MEMORY, Verdict.DISK_LIMIT_EXCEEDED),
    *(Verdict.DIVERGED, Verdict.QUALITY_GATE_FAILED, Verdict.PREEMPTED, Verdict.NODE_LOST, Verdict.EVICTED),
    *(Verdict.STORAGE_UNAVAILABLE, Verdict.DELETED, Verdict.INTERNAL_ERROR, Verdict.INTERRUPTED),
    Verdict.SUCCEEDED,
]
_BY_EXIT_CODE: Final = {
    ExitCode.DATA_INVALID: Verdict.DATA_INVALID,
    ExitCode.SPEC_INVALID: Verdict.SPEC_INVALID,
    ExitCode.STORAGE_UNAVAILABLE: Verdict.STORAGE_UNAVAILABLE,
    ExitCode.OUT_OF_MEMORY: Verdict.OUT_OF_MEMORY,
    ExitCode.INTERRUPTED: Verdict.INTERRUPTED,
    ExitCode.DIVERGED: Verdict.DIVERGED,
}
_SIGTERM: Final = 128 + 15
_SIGKILL: Final = 128 + 9
# Reasons of the condition DisruptionTarget, as Kubernetes documents them under "Pod disruption conditions".
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": (Verdict.PREEMPTED, "a pod of higher priority took its place"),
    "DeletionByTaintManager": (Verdict.NODE_LOST, "its node became unreachable or was tainted NoExecute"),
    "EvictionByEvictionAPI": (Verdict.EVICTED, "it was evicted, as a node drain does"),
    "DeletionByPodGC": (Verdict.NODE_LOST, "its node is gone"),
    "TerminationByKubelet": (Verdict.EVICTED, "its node was short of resources or shut down"),
}
_REASONS: Final = {
    "Preempting": (Verdict.PREEMPTED, "a pod of higher priority took its place"),
    "NodeLost": (Verdict.NODE_LOST, "its node is gone"),
    "Evicted": (Verdict.EVICTED, "its node evicted it"),
}
_NEVER_RAN: Final = frozenset({"StartError", "ContainerCannotRun"})
"""The container runtime's words for a command, a user or a device that is not there: exit code 128."""
_OWN_DISK: Final = re.compile(
    r'EmptyDir volume "(?P<volume>[^"]+)" exceeds the limit'
    "|(?:local ephemeral storage limit|ephemeral local storage usage exceeds)"
)
"""The kubelet's words (its eviction/helpers.go) for a pod that took more disk than it may, not than there was."""
_MORE_DISK: Final = {
    "scratch": "raise spec.pod.scratch.size of the runtime",
    "shm": "raise spec.resources.sharedMemory, or lower train.workers",
}
_NODE_REFUSALS: Final = ("OutOf", "NodeAffinity", "UnexpectedAdmissionError", "NodeShutdown", "Terminated")


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt, or one pod of it, ended.

    Attributes:
        verdict: in one word.
        message: what happened, for people.
        remedy: what to do about it; empty where the operator does it.
        said: the trainer's own last words, where it had any.
    """

    verdict: Verdict
    message: str
    remedy: str = ""
    said: TerminationMessage | None = None


def gang_end(
    workload: WorkloadView | None,
    pods: Sequence[PodView],
    lost_nodes: Collection[str],
    *,
    size: int,
    gone: Sequence[PodView] = (),
) -> End | None:
    """How a gang ended, or None while it lives.

    One pod that ended badly ends the gang; where several did, the most telling end is the cause.

    Args:
        workload: None where it is gone.
        pods: those of this attempt that are still there.
        lost_nodes: nodes that are not heard of any more.
        size: pods that the gang has when it is whole.
        gone: pods of this attempt that were deleted, as they were last: where none that is there says why the
            workload failed, one of them may.
    """
    ends = [end for pod in pods if (end := pod_end(pod, lost_nodes)) is not None]
    bad = [end for end in ends if end.verdict is not Verdict.SUCCEEDED]
    if bad:
        return min(bad, key=lambda end: end.verdict.telling)
    outcome = workload.outcome if workload else None
    if outcome is Outcome.SUCCEEDED or len(ends) >= size:
        return min(ends, key=_rank_first, default=End(Verdict.SUCCEEDED, "The stage is done."))
    if workload is not None and outcome is Outcome.FAILED:
        detail = f"{workload.reason}: {workload.message}".strip(": ") or "it does not say why"
        end = End(Verdict.INTERNAL_ERROR, f"{workload.backend} {workload.name} failed: {detail}.")
        told = [one for pod in gone if (one := pod_end(pod, lost_nodes)) is not None]
        # Those that were asked to stop because it failed tell less, those that succeeded nothing.
        return min([end, *told], key=lambda one: one.verdict.telling)
    return None


def unexplained(workload: WorkloadView, pods: Sequence[PodView]) -> bool:
    """Whether a workload has ended, and no pod that is known says how: what is known of its pods may be old.

    Args:
        workload: an attempt.
        pods: those of the run.
    """
    own = [pod for pod in pods if (pod.stage, pod.attempt) == (workload.stage, workload.attempt)]
    if workload.outcome is Outcome.SUCCEEDED:
        return not any(pod.ended and not pod.rank for pod in own)  # the leader has the results
    ends = (pod_end(pod, ()) for pod in own)
    return workload.outcome is Outcome.FAILED and all(
        end is None or end.verdict is Verdict.SUCCEEDED for end in ends
    )


def _rank_first(end: End) -> int:
    """The leader's words before the others': it alone has results."""
    return 0 if end.said is not None and end.said.results else 1


def pod_end(pod: PodView, lost_nodes: Collection[str]) -> End | None:
    """How a pod ended, or None while it lives."""
    said = TerminationMessage.decode(pod.container.message) if pod.container.message else None
    if pod.node in lost_nodes and not pod.ended:
        return End(
            Verdict.NODE_LOST, f"{_where(pod)} is lost with its node: nothing is heard of it any more."
        )
    if pod.phase == "Succeeded" or (pod.container.exit_code == 0 and not pod.reason):
        return End(Verdict.SUCCEEDED, "The stage is done.", said=said)
    disrupted = _disruption(pod)
    if disrupted is not None and (pod.ended or pod.container.exit_code is not None):
        return End(disrupted[0], f"{_where(pod)} was taken away: {disrupted[1]}.", said=said)
    if pod.phase != "Failed" and pod.container.exit_code is None:
        return None
    if disrupted is None and pod.container.exit_code is None:
        return End(Verdict.INTERNAL_ERROR, f"{_where(pod)} failed: {pod.reason} {pod.message}".strip() + ".")
    return _by_exit(pod, said)


def taken_away(pod: PodView) -> bool:
    """Whether a pod was deleted, and has no end but that, nor a word of who did it."""
    asked = {None, ExitCode.INTERRUPTED, _SIGTERM, _SIGKILL}
    return pod.deleting is not None and pod.container.exit_code in asked and _disruption(pod) is None


def _disruption(pod: PodView) -> tuple[Verdict, str] | None:
    if pod.reason == "Evicted" and (greedy := _OWN_DISK.search(pod.message)) is not None:
        remedy = _MORE_DISK.get(greedy["volume"], "raise that limit (a LimitRange of the namespace sets it)")
        text = f"it used more disk than it may ({pod.message.strip().rstrip('.')}), as the next one would; {remedy}"
        return Verdict.DISK_LIMIT_EXCEEDED, text
    condition = pod.conditions.get("DisruptionTarget")
    if condition is not None and condition.true:
        verdict, text = _DISRUPTIONS.get(condition.reason, (Verdict.EVICTED, condition.reason))
        return verdict, text + (f" ({condition.message.rstrip('.')})" if condition.message else "")
    detail = f" ({pod.message.rstrip('.')})" if pod.message else ""
    if pod.reason in _REASONS:
        verdict, text = _REASONS[pod.reason]
        return verdict, text + detail
    if pod.reason.startswith(_NODE_REFUSALS):
        return Verdict.EVICTED, f"its node refused it, {pod.reason}{detail}"
    return None


def _by_exit(pod: PodView, said: TerminationMessage | None) -> End:
    container = pod.container
    code = container.exit_code or 0
    if container.ended_reason == "OOMKilled":
        return End(
            Verdict.OUT_OF_MEMORY,
            f"{_where(pod)} used more memory than its limit and was killed.",
            "Raise spec.resources.memory, or lower train.batch.size or the workers of Prepare and Train.",
            said,
        )
    if container.ended_reason in _NEVER_RAN:
        return End(
            Verdict.NOT_STARTED,
            f"{_where(pod)}: its container cannot be started: {container.message.strip()[-600:] or 'no reason given'}",
            "Check the image and the user (runAsUser) of the runtime; the image must have the command asrtune.",
        )
    if container.ended_reason == "ContainerStatusUnknown":
        return End(Verdict.NODE_LOST, f"{_where(pod)} vanished with its node's kubelet.", said=said)
    if said is not None and said.end_class.exit_code == code and code:
        verdict = _BY_EXIT_CODE.get(ExitCode(code), Verdict.INTERNAL_ERROR)
        return End(verdict, said.message, said.remedy, said)
    if code in {ExitCode.INTERRUPTED, _SIGTERM}:
        return End(Verdict.INTERRUPTED, f"{_where(pod)} was asked to stop by its node.", said=said)
    guess = _BY_EXIT_CODE.get(ExitCode(code)) if code in set(ExitCode) else None
    tail = container.message.strip()[-600:] if said is None else said.message
    what = "was killed (SIGKILL)" if code == _SIGKILL else f"ended with exit code {code}"
    text = f"{_where(pod)} {what}" + (f":\n{tail}" if tail else " and left no message.")
    return End(guess or Verdict.INTERNAL_ERROR, text, said=said)


def _where(pod: PodView) -> str:
    return f"Pod {pod.name}" + (f" on node {pod.node}" if pod.node else "")
