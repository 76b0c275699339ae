"""What the operator sees of a run's children: plain values, made from API objects by `follow/observe.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from asrtune_api.policy import Backend
from asrtune_api.progress import ProgressDocument


@dataclass(frozen=True, slots=True)
class ConditionView:
    """A condition of a pod or a workload."""

    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = None

    @property
    def true(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True, slots=True)
class ContainerView:
    """The training container of a pod. At most one of waiting and ended."""

    waiting_reason: str = ""
    waiting_message: str = ""
    started: datetime | None = None
    exit_code: int | None = None
    ended_reason: str = ""
    """OOMKilled, Error, Completed, ContainerStatusUnknown..."""
    message: str = ""
    """The termination message as the kubelet read it: JSON of ours, or the end of the log."""
    finished: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod of a gang."""

    name: str
    uid: str
    stage: str
    attempt: int
    run_spec: str = ""
    rank: int | None = None
    """Its place in the gang, the node rank; None where the controller has not said it."""
    phase: str = "Pending"
    created: datetime
    node: str = ""
    ip: str = ""
    gpus: int = 0
    """GPUs that it asks for."""
    deleting: datetime | None = None
    """Its deletionTimestamp: when the grace period is over."""
    reason: str = ""
    """status.reason: Evicted, Preempting, NodeLost, UnexpectedAdmissionError..."""
    message: str = ""
    conditions: Mapping[str, ConditionView] = field(default_factory=dict)
    container: ContainerView = ContainerView()
    init_waiting: str = ""
    """Why an init container (PyTorchJob adds one) waits or failed, `REASON: message`; else empty."""
    gates: Sequence[str] = ()
    """Scheduling gates that hold it back."""

    @property
    def ended(self) -> bool:
        return self.phase in {"Succeeded", "Failed"}

    @property
    def running(self) -> bool:
        return self.phase == "Running" and self.container.exit_code is None

    @property
    def begun(self) -> bool:
        """It runs, or has run. Its container's end is told before its own."""
        return self.running or self.ended or self.container.exit_code is not None


@dataclass(frozen=True, slots=True)
class QueueView:
    """What Kueue says of a workload."""

    queue: str
    reserved: bool = False
    """Quota is reserved."""
    admitted: bool = False
    reason: str = ""
    """Why not, or why it was evicted, as Kueue's own word."""
    message: str = ""


class Outcome(StrEnum):
    """How a workload ended, as its controller says."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """A Job, PyTorchJob, TrainJob or JobSet: one attempt at a unit of the chain."""

    backend: Backend
    name: str
    uid: str
    stage: str
    attempt: int
    run_spec: str = ""
    created: datetime
    deleting: bool = False
    suspended: bool = False
    outcome: Outcome | None = None
    reason: str = ""
    """Of the condition that says so."""
    message: str = ""
    queue: QueueView | None = None
    """None where it is in no queue, or Kueue has not taken notice of it yet."""
    problem: str = ""
    """What keeps its controller from making pods (a webhook's refusal, a missing runtime), for people."""


class WaitReason(StrEnum):
    """Why something waits: the closed list of the Running condition's reasons while it is False."""

    CREATED = "Created"
    """Nothing is known yet: the pods were made a moment ago."""
    GPUS_UNAVAILABLE = "GpusUnavailable"
    RESOURCES_UNAVAILABLE = "ResourcesUnavailable"
    """CPU, memory, pods a node, other extended resources."""
    NODE_SELECTOR_UNMATCHED = "NodeSelectorUnmatched"
    TAINT_UNTOLERATED = "TaintUntolerated"
    TOPOLOGY_UNSATISFIED = "TopologyUnsatisfied"
    QUOTA_EXHAUSTED = "QuotaExhausted"
    QUEUE_NOT_FOUND = "QueueNotFound"
    QUEUE_INACTIVE = "QueueInactive"
    RESOURCE_QUOTA_EXCEEDED = "ResourceQuotaExceeded"
    """The namespace's ResourceQuota or LimitRange refuses pods."""
    ADMISSION_REFUSED = "AdmissionRefused"
    """A webhook or the Pod Security level refuses pods."""
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 (a reason, not a secret)
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    CLAIM_MISSING = "ClaimMissing"
    CLAIM_UNBOUND = "ClaimUnbound"
    VOLUME_UNMOUNTED = "VolumeUnmounted"
    PRIORITY_CLASS_MISSING = "PriorityClassMissing"
    CONTAINER_CREATING = "ContainerCreating"
    CONTAINER_FAILED = "ContainerFailed"
    """The container cannot be started: wrong command, missing device, wrong user."""
    GANG_INCOMPLETE = "GangIncomplete"
    """Some pods run and wait for the others."""
    SCHEDULING_GATED = "SchedulingGated"
    RUNTIME_NOT_FOUND = "RuntimeNotFound"
    BACKEND_UNAVAILABLE = "BackendUnavailable"
    """The controller that was asked for is not installed, or does not answer."""
    EARLIER_RUN_ENDING = "EarlierRunEnding"
    """Objects of a deleted run of the same name are still there."""
    PREVIOUS_ATTEMPT_ENDING = "PreviousAttemptEnding"
    BACKING_OFF = "BackingOff"
    MODEL_NOT_READY = "ModelNotReady"
    """An evaluation waits for a finetune to publish its model."""
    EXTERNALLY_SUSPENDED = "ExternallySuspended"


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something waits, in one sentence for people."""

    reason: WaitReason
    message: str


@dataclass(frozen=True, slots=True)
class ProgressView:
    """What rank 0 of an attempt said last."""

    stage: str
    """The unit's first stage, as in `PodView.stage`."""
    attempt: int
    document: ProgressDocument
    read_at: datetime
    worked_at: datetime | None = None
    """When a growth of its `work_reports` was seen last; None before the first."""

    def followed_by(self, document: ProgressDocument, now: datetime) -> ProgressView:
        """What the same attempt says next."""
        worked = now if document.work_reports > self.document.work_reports else self.worked_at
        return replace(self, document=document, read_at=now, worked_at=worked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that is known of a run's children at one moment."""

    workloads: Sequence[WorkloadView] = ()
    pods: Sequence[PodView] = ()
    gone: Sequence[PodView] = ()
    """Pods of the newest attempt that were deleted, as they were last: some controllers delete what has failed."""
    progress: ProgressView | None = None
    lost_nodes: frozenset[str] = frozenset()
    """Nodes that are gone or unreachable: nothing that ran there is heard of any more."""
    wait: Wait | None = None
    """Why the newest attempt waits, where it does (`waiting/`)."""
    foreseen: str = ""
    """What a later stage will wait for, for ever (`waiting/`)."""
    refused: Wait | None = None
    """Why the API server refused the last CreateGang; None as soon as another try is due."""
    former: Sequence[str] = ()
    """Workloads of a deleted run of the same name that are still there."""
