"""How a run is carried out: retries, deadlines, pods, volumes. Shared by finetunes and evaluations."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from asrtune_api.base import ApiModel, Boolean, Integer, Name, Rule

_RESERVED = ("/etc/asrtune/", "/dev/", "/proc/", "/sys/")

MountPath = Annotated[str, StringConstraints(pattern=r"^/[^:\s]*[^:/\s]$", max_length=300)]


class Backend(StrEnum):
    """What runs the pods of a gang."""

    AUTO = "Auto"
    JOB = "Job"
    PYTORCH_JOB = "PyTorchJob"
    TRAIN_JOB = "TrainJob"
    JOB_SET = "JobSet"


class PodSharing(StrEnum):
    """Which stages share a set of pods."""

    PER_STAGE = "PerStage"
    SHARED = "Shared"


class RunPolicy(ApiModel):
    """How long a run may take, and what happens when it is disturbed."""

    start_deadline_seconds: Integer | None = Field(None, ge=1)
    """The run fails when a stage waits longer than this for its pods to run, with what they waited for as the
    reason; unset: it waits for ever."""
    deadline_seconds: Integer | None = Field(None, ge=1)
    """The run fails when it is not done this long after its first pod ran; time suspended does not count."""
    stall_timeout_seconds: Integer = Field(1800, ge=10)
    """A stage that makes no progress for this long while its pods run is stopped and started again."""
    max_stall_restarts: Integer = Field(3, ge=0, le=100)
    """How often a stalled stage is started again before the run fails."""
    max_retries: Integer = Field(3, ge=0, le=100)
    """How often a stage is started again after a failure that another try may mend (storage unreachable, a crash).
    Wrong data, a wrong spec, lack of memory and divergence fail at once; preemption and node loss cost no retry."""
    backoff_seconds: Integer = Field(10, ge=1, le=3600)
    """Wait before the first retry; doubled each time, up to ten minutes."""
    max_interruptions: Integer | None = Field(None, ge=0)
    """How often a stage may be preempted, evicted or lose its node before the run fails; unset: without limit."""
    grace_period_seconds: Integer = Field(300, ge=1, le=86400)
    """How long pods that are asked to stop may take to save and upload a checkpoint."""
    ttl_seconds_after_finished: Integer | None = Field(None, ge=0)
    """Pods and jobs of a finished run are deleted after this time; the run itself, its status and its results stay.
    Unset: they stay until the run is deleted."""


class Topology(ApiModel):
    """Where the pods of a gang go, relative to each other."""

    rules = (
        Rule(
            "set packBy, spreadOverHosts or both: an empty topology asks for nothing",
            "has(self.packBy) || (has(self.spreadOverHosts) && self.spreadOverHosts)",
            lambda t: t.pack_by is not None or t.spread_over_hosts,
        ),
    )

    pack_by: str | None = Field(None, min_length=1, max_length=317)
    """Node label whose value the gang's nodes should share, such as topology.kubernetes.io/zone."""
    spread_over_hosts: Boolean = False
    """Each pod of the gang on a host of its own."""


class Execution(ApiModel):
    """What the operator makes of a run."""

    backend: Backend | None = None
    """What runs the pods of a gang; unset: what the runtime says. Stages of one pod are always Jobs."""
    pods: PodSharing = PodSharing.PER_STAGE
    """PerStage: each stage has pods of its own, those of CPU stages without GPUs. Shared: one pod runs the whole
    chain, which saves start-up time and holds its GPUs all along; for one node only."""
    topology: Topology | None = None
    """Where the pods of a gang go, relative to each other."""


class VolumeClaim(ApiModel):
    """A PersistentVolumeClaim in the same namespace, mounted into every pod of the run."""

    rules = (
        Rule(
            "mountPath must not lie in /etc/asrtune, /dev, /proc or /sys: the operator and the kubelet mount there",
            "!self.mountPath.matches('^/(etc/asrtune|dev|proc|sys)(/|$)') && !self.mountPath.contains('/..')",
            lambda v: (
                not v.mount_path.startswith(_RESERVED)
                and v.mount_path not in {"/etc/asrtune", "/dev", "/proc", "/sys"}
                and "/.." not in v.mount_path
            ),
        ),
    )

    name: Name
    """Name of the volume, unique in its list."""
    claim: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    """Name of the PersistentVolumeClaim."""
    mount_path: MountPath
    """Where it is mounted; the run's file:// URIs lead there."""
    sub_path: str | None = Field(None, min_length=1, max_length=500, pattern=r"^[^/].*$")
    """Directory inside the volume; unset: all of it."""
    read_only: Boolean = False
    """Mount it read-only."""
