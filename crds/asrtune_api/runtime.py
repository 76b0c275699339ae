"""ASRRuntime and ClusterASRRuntime: the platform team's half of a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from asrtune_api import API_VERSION
from asrtune_api.base import ApiModel, Boolean, Decimal, Integer, Name, Rule, list_map
from asrtune_api.finetune import QUANTITY_PATTERN, ObjectMeta, SecretRef, StorageSpec
from asrtune_api.policy import Backend, VolumeClaim

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]


class TolerationOperator(StrEnum):
    """How a toleration meets a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """Effect of a taint."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """A taint that the pods tolerate, as in a pod's spec."""

    rules = (
        Rule(
            "value belongs to the operator Equal: remove value, or set operator to Equal",
            "!has(self.value) || self.operator == 'Equal'",
            lambda t: not t.says("value") or t.operator == TolerationOperator.EQUAL,
        ),
    )

    key: str | None = Field(None, min_length=1, max_length=317)
    """Taint key; unset with operator Exists: every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Exists: whatever the taint's value; Equal: this value."""
    value: str | None = Field(None, max_length=63)
    """Taint value."""
    effect: TaintEffect | None = None
    """Taint effect; unset: every effect."""
    toleration_seconds: Integer | None = Field(None, ge=0)
    """How long a NoExecute taint is tolerated; unset: for ever."""


class EnvVar(ApiModel):
    """An environment variable of the training container."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the variable."""
    value: str = Field(max_length=1000)
    """Its value."""


class Scratch(ApiModel):
    """Where pods keep copies of audio, models and checkpoints while they run."""

    size: str | None = Field(None, pattern=QUANTITY_PATTERN, max_length=20)
    """How much there is, a Kubernetes quantity; a volume needs it, the node's own disk is unlimited without it."""
    storage_class_name: Name | None = None
    """StorageClass of a volume made for each pod; unset: the node's own disk."""

    rules = (
        Rule(
            "a volume needs a size: set size beside storageClassName",
            "!has(self.storageClassName) || has(self.size)",
            lambda s: s.storage_class_name is None or s.size is not None,
        ),
    )


class PodSettings(ApiModel):
    """What the pods of a run get besides what the operator decides."""

    rules = (
        Rule(
            "a volume of a StorageClass belongs to root: set fsGroup, so that the pods may write to scratch",
            "!has(self.scratch) || !has(self.scratch.storageClassName) || has(self.fsGroup)",
            lambda p: p.scratch.storage_class_name is None or p.fs_group is not None,
        ),
    )

    labels: Labels = Field(default_factory=dict)
    """Labels of the pods."""
    annotations: Annotated[dict[LabelKey, Annotated[str, Field(max_length=1000)]], Field(max_length=32)] = (
        Field(default_factory=dict)
    )
    """Annotations of the pods."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32)
    """Taints that the pods tolerate."""
    env: list[EnvVar] = Field(default_factory=list, max_length=64, json_schema_extra=list_map())
    """Environment variables of the training container."""
    image_pull_secrets: list[SecretRef] = Field(
        default_factory=list, max_length=8, json_schema_extra=list_map()
    )
    """Secrets with the credentials of the image's registry."""
    priority_class_name: Name | None = None
    """PriorityClass of the pods."""
    shared_memory: str | None = Field(None, pattern=QUANTITY_PATTERN, max_length=20)
    """Size of /dev/shm where the finetune does not say it, a Kubernetes quantity."""
    scratch: Scratch = Field(default_factory=Scratch)
    """Where pods keep copies of audio, models and checkpoints while they run."""
    volumes: list[VolumeClaim] = Field(default_factory=list, max_length=16, json_schema_extra=list_map())
    """Claims that every pod gets, in the run's namespace: a shared cache, say."""
    extra_resources: Annotated[
        dict[LabelKey, Annotated[str, Field(pattern=r"^[0-9]+$", max_length=10)]], Field(max_length=8)
    ] = Field(default_factory=dict)
    """Further extended resources of each pod of a gang, such as vpc.amazonaws.com/efa: "4"."""
    run_as_user: Integer | None = Field(None, ge=1)
    """User id of the pods' processes; unset: the image's own, which must not be root."""
    fs_group: Integer | None = Field(None, ge=1)
    """Group that owns the pods' volumes."""


class Fabric(StrEnum):
    """The network between the GPUs of a gang."""

    AUTO = "Auto"
    ETHERNET = "Ethernet"
    ROCE = "RoCE"
    INFINIBAND = "InfiniBand"
    EFA = "EFA"


class NcclSettings(ApiModel):
    """How the processes of a gang reach each other."""

    fabric: Fabric = Fabric.AUTO
    """Auto: NCCL finds out; Ethernet: plain TCP; RoCE, InfiniBand: only by RDMA; EFA: Amazon's fabric, which also needs
    extraResources."""
    interface: str | None = Field(None, min_length=1, max_length=100, pattern=r"^[\^=A-Za-z0-9_.,-]+$")
    """Network interface (NCCL_SOCKET_IFNAME syntax, such as eth0 or ^docker); unset: NCCL chooses."""
    debug: Literal["Version", "Warn", "Info"] = "Warn"
    """How much NCCL logs."""

    def environment(self) -> dict[str, str]:
        """The variables that NCCL and gloo read.

        Names and values as in NVIDIA's "NCCL Environment Variables", torch.distributed's documentation, and AWS's
        guide to EFA with NCCL.
        """
        variables = {"NCCL_DEBUG": self.debug.upper()}
        if self.fabric is Fabric.ETHERNET:
            variables["NCCL_IB_DISABLE"] = "1"
        if self.fabric in {Fabric.INFINIBAND, Fabric.ROCE}:
            variables["NCCL_NET"] = "IB"
        if self.fabric is Fabric.ROCE:
            variables["NCCL_IB_GID_INDEX"] = "3"  # RoCE v2 over IPv4 on most adapters
        if self.fabric is Fabric.EFA:
            variables["FI_PROVIDER"] = "efa"
        if self.interface is not None:
            variables["NCCL_SOCKET_IFNAME"] = self.interface
            variables["GLOO_SOCKET_IFNAME"] = self.interface
        return variables


class TelemetrySettings(ApiModel):
    """Where running stages can be watched."""

    schema_defaults: ClassVar[bool] = False

    port: Integer | None = Field(None, ge=1, le=65535)
    """Port of /metrics and /progress on rank 0; unset: the operator's."""
    push_gateway: str | None = Field(None, pattern=r"^https?://\S+$", max_length=300)
    """URL of a Prometheus Pushgateway; unset pushes nothing."""


class RuntimeSpec(ApiModel):
    """How and where runs are run."""

    image: str | None = Field(None, min_length=1, max_length=500, pattern=r"^\S+$")
    """Container image of the trainer; unset: the operator's own version of it."""
    backend: Backend = Backend.AUTO
    """What runs the pods of a gang; Auto takes the best of what the cluster has."""
    pod: PodSettings = Field(default_factory=PodSettings)
    """What the pods get besides what the operator decides."""
    nccl: NcclSettings = Field(default_factory=NcclSettings)
    """How the processes of a gang reach each other."""
    storage: StorageSpec = Field(default_factory=StorageSpec)
    """S3 service and Secret for finetunes that name no endpoint of their own."""
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    """Where running stages can be watched."""
    queue_name: Name | None = None
    """Kueue LocalQueue for runs that name none."""
    gpu_resource: Annotated[
        str, Field(min_length=1, max_length=200, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    ] = "nvidia.com/gpu"
    """Resource that stands for one GPU: nvidia.com/gpu, amd.com/gpu, nvidia.com/mig-3g.40gb..."""
    gpu_price_per_hour: Decimal | None = Field(None, ge=0)
    """Price of one GPU hour, for the cost figure."""
    trust_remote_code: Boolean = False
    """Let models from a hub run the Python code that came with them."""


class ASRRuntime(ApiModel):
    """How runs of one namespace are run: image, nodes, network, storage. Written by the platform team."""

    api_version: Literal["asrtune.dev/v1alpha1"] = API_VERSION
    kind: Literal["ASRRuntime"] = "ASRRuntime"
    metadata: ObjectMeta
    spec: RuntimeSpec
    """How and where runs are run."""


class ClusterASRRuntime(ApiModel):
    """How runs of the whole cluster are run: image, nodes, network, storage. Written by the platform team."""

    api_version: Literal["asrtune.dev/v1alpha1"] = API_VERSION
    kind: Literal["ClusterASRRuntime"] = "ClusterASRRuntime"
    metadata: ObjectMeta
    spec: RuntimeSpec
    """How and where runs are run."""


Runtime = ASRRuntime | ClusterASRRuntime
