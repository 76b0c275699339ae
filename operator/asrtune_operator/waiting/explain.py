"""Why an attempt waits, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from asrtune_operator.backends.jobset import JOB
from asrtune_operator.backends.registry import BACKENDS, CONTROLLER
from asrtune_operator.values.observed import PodView, Wait, WaitReason, WorkloadView
from asrtune_operator.waiting.claims import unbound
from asrtune_operator.waiting.creation import refused
from asrtune_operator.waiting.facts import Evidence, Wanted
from asrtune_operator.waiting.kubelet import on_node
from asrtune_operator.waiting.queue import queue_wait
from asrtune_operator.waiting.scheduler import unschedulable

SILENCE: Final = timedelta(seconds=5)
"""How long a controller may take before we say that it does nothing."""
CREATION_FAILED: Final = frozenset(
    {"FailedCreate", "FailedCreatePod", "JobCreationFailed", "TrainJobResourcesCreationFailed"}
)
TELLING: Final = (
    WaitReason.IMAGE_UNAVAILABLE,
    WaitReason.SECRET_MISSING,
    WaitReason.CONFIG_MAP_MISSING,
    WaitReason.CLAIM_MISSING,
    WaitReason.CONTAINER_FAILED,
    WaitReason.VOLUME_UNMOUNTED,
    WaitReason.CLAIM_UNBOUND,
    WaitReason.SCHEDULING_GATED,
    WaitReason.NODE_SELECTOR_UNMATCHED,
    WaitReason.TAINT_UNTOLERATED,
    WaitReason.TOPOLOGY_UNSATISFIED,
    WaitReason.RESOURCES_UNAVAILABLE,
    WaitReason.GPUS_UNAVAILABLE,
    WaitReason.BACKEND_UNAVAILABLE,
    WaitReason.CONTAINER_CREATING,
    WaitReason.CREATED,
)
"""Of pods that wait for different things: what somebody has to mend comes before what passes by itself."""
_STARTING: Final = frozenset({WaitReason.CONTAINER_CREATING, WaitReason.CREATED})


def explain(
    wanted: Wanted, workload: WorkloadView, pods: Sequence[PodView], evidence: Evidence, now: datetime
) -> Wait | None:
    """Why an attempt waits; None when all its pods run or have ended.

    The first of these that holds is told: the controller's own complaint; the queue; pods that may not be made; pods
    that were made and wait, the most telling first (`TELLING`); a controller that does nothing. Where some pods of a
    gang run, the reason is that of those that do not; GangIncomplete where these are only starting.

    Args:
        wanted: what the pods ask for.
        workload: the attempt.
        pods: of the attempt.
        evidence: what was found in the cluster.
        now: the time.
    """
    there = [pod for pod in pods if pod.deleting is None]
    waiting = [pod for pod in there if not pod.begun]
    if len(there) - len(waiting) >= wanted.nodes:
        return None
    if workload.problem:
        return Wait(WaitReason.BACKEND_UNAVAILABLE, f"{_named(workload)}: {workload.problem.rstrip('.')}.")
    if workload.suspended:
        return _suspended(wanted, workload, evidence, now)
    running = sum(pod.running for pod in there)
    wait, pod = _most_telling(wanted, workload, there, waiting, evidence, now)
    return _of_gang(wait, pod, running, wanted.nodes)


def _suspended(wanted: Wanted, workload: WorkloadView, evidence: Evidence, now: datetime) -> Wait:
    if wanted.queue:
        silent = now - workload.created > SILENCE
        return queue_wait(evidence.queue, wanted, _named(workload), silent=silent)
    text = f"Somebody has suspended {_named(workload)}: whoever did has to resume it, or suspend and resume the run."
    return Wait(WaitReason.EXTERNALLY_SUSPENDED, text)


def _most_telling(  # noqa: PLR0917 (private, and each is one thing)
    wanted: Wanted,
    workload: WorkloadView,
    there: Sequence[PodView],
    waiting: Sequence[PodView],
    evidence: Evidence,
    now: datetime,
) -> tuple[Wait, PodView | None]:
    """The wait, and the pod that it is about."""
    if len(there) < wanted.nodes and (wait := _refused(wanted, workload, evidence)):
        return wait, None
    if waiting:
        found = [(of_pod(pod, wanted, evidence, now), pod) for pod in waiting]
        return min(found, key=lambda one: (TELLING.index(one[0].reason), one[1].rank or 0, one[1].name))
    since = evidence.queue.admitted_at if evidence.queue and evidence.queue.admitted_at else workload.created
    if not there and now - since > SILENCE:
        controller = CONTROLLER[workload.backend]
        text = (
            f"{controller} has made no pods for {_named(workload)} yet: see whether it runs, or lags behind."
        )
        return Wait(WaitReason.BACKEND_UNAVAILABLE, text), None
    return Wait(WaitReason.CREATED, "The pods are being made."), None


def of_pod(pod: PodView, wanted: Wanted, evidence: Evidence, now: datetime) -> Wait:
    """Why a pod does not run."""
    if pod.gates:
        gates = ", ".join(pod.gates)
        text = f"Pod {pod.name} is held back by scheduling gate {gates}: whoever set it has to remove it."
        return Wait(WaitReason.SCHEDULING_GATED, text)
    if pod.node:
        return on_node(pod, wanted, evidence)
    scheduled = pod.conditions.get("PodScheduled")
    if scheduled is not None and not scheduled.true and scheduled.message:
        return unschedulable(pod, wanted, evidence)
    # While the scheduler waits for a volume to be made, it writes nothing into the pod.
    if claims := unbound(pod, wanted, evidence):
        return claims[0]
    if now - pod.created > SILENCE:
        text = f"The scheduler says nothing of pod {pod.name}: does it run?"
        return Wait(WaitReason.BACKEND_UNAVAILABLE, text)
    return Wait(WaitReason.CREATED, f"Pod {pod.name} is about to be scheduled.")


def _refused(wanted: Wanted, workload: WorkloadView, evidence: Evidence) -> Wait | None:
    names = workload_names(workload)
    told = (one for one in evidence.about(*names) if one.kind != "Pod" and one.reason in CREATION_FAILED)
    event = next(told, None)
    return refused(event.message, wanted.namespace) if event else None


def workload_names(workload: WorkloadView) -> tuple[str, str]:
    """Of the workload, and of the Job that a JobSet makes."""
    return workload.name, f"{workload.name}-{JOB}-0"


def _of_gang(wait: Wait, pod: PodView | None, running: int, nodes: int) -> Wait:
    if nodes == 1:
        return wait
    who = f"pod {pod.name}" if pod is not None else "the others"
    if not running:
        return Wait(wait.reason, f"Pod {pod.name}: {wait.message}") if pod is not None else wait
    reason = WaitReason.GANG_INCOMPLETE if wait.reason in _STARTING else wait.reason
    verb = "runs and waits" if running == 1 else "run and wait"
    return Wait(reason, f"{running} of {nodes} pods {verb} for {who}: {wait.message}")


def _named(workload: WorkloadView) -> str:
    return f"{BACKENDS[workload.backend].resource.kind} {workload.name}"
