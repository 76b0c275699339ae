"""ASRFinetune: what a speech engineer writes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from asrtune_api import API_VERSION
from asrtune_api.base import ApiModel, Boolean, Integer, Name, Rule, Uri, list_map, uri_rule
from asrtune_api.gate import QualityGate
from asrtune_api.policy import Execution, PodSharing, RunPolicy, VolumeClaim
from asrtune_api.stages import StageOverride, StageSpec
from asrtune_api.status import FinetuneStatus

OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
HUB_PATTERN = r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$"
QUANTITY_PATTERN = r"^[0-9]+(Ki|Mi|Gi|Ti)?$"


class ObjectMeta(ApiModel):
    """The part of Kubernetes' object metadata that the trainer reads; the rest passes through unread."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)]
    """Name of the object."""
    namespace: str | None = None
    """Namespace of the object."""


class ModelRef(ApiModel):
    """The model to start from: a directory, an s3 URI, or a hub name."""

    rules = (
        Rule(
            "set exactly one of uri (a directory or s3:// prefix) and hub (a name such as iic/SenseVoiceSmall)",
            "has(self.uri) != has(self.hub)",
            lambda m: m.says("uri") != m.says("hub"),
        ),
        Rule(
            "revision belongs to a hub name: set hub, or remove revision",
            "!has(self.revision) || has(self.hub)",
            lambda m: not m.says("revision") or m.says("hub"),
        ),
        uri_rule(optional=True),
    )

    uri: Uri | None = None
    """Directory (relative to the manifest) or s3:// prefix of a FunASR model."""
    hub: str | None = Field(None, min_length=3, max_length=200, pattern=HUB_PATTERN)
    """Name on a model hub, such as iic/SenseVoiceSmall."""
    hub_service: Literal["ModelScope", "HuggingFace"] = "ModelScope"
    """Which hub."""
    revision: str | None = Field(None, max_length=100)
    """Revision on the hub; unset: the hub's default branch."""


class DataSource(ApiModel):
    """One JSONL list of utterances."""

    rules = (uri_rule(),)

    name: Name
    """Name of the source, unique within its list."""
    uri: Uri
    """JSONL file: a path (relative to the manifest) or an s3 URI. Audio paths inside are relative to it."""


class TrainSource(DataSource):
    """Training data."""

    weight_percent: Integer = Field(100, ge=1, le=1000)
    """How much of the source an epoch holds: 100 each utterance once, 30 a random 30 %, 200 each twice."""


class TestSource(DataSource):
    """A test set."""

    __test__ = False  # not a pytest class

    retention: Boolean = False
    """The set measures what the base model could do already (the old domain), not the new domain."""


class DataSpec(ApiModel):
    """Where the utterances are."""

    train: list[TrainSource] = Field(min_length=1, max_length=64, json_schema_extra=list_map())
    """Training data; several sources are mixed by weight."""
    validation: list[DataSource] = Field(min_length=1, max_length=64, json_schema_extra=list_map())
    """Validation data: chooses checkpoints, never reported as a result."""
    test: list[TestSource] = Field(default_factory=list, max_length=64, json_schema_extra=list_map())
    """Test sets."""
    max_rejected_percent: Integer = Field(5, ge=0, le=100)
    """The run fails when more than this share of a source's lines is unusable."""


class Recipe(ApiModel):
    """A preset and what to change in it."""

    preset: str = Field(min_length=1, max_length=63)
    """Name of the preset."""
    overrides: list[StageOverride] = Field(default_factory=list, max_length=32, json_schema_extra=list_map())
    """Stages of the preset, by name, with the parameters to change."""


class SecretRef(ApiModel):
    """A Secret in the same namespace."""

    name: Name
    """Name of the Secret."""


class StorageSpec(ApiModel):
    """How s3:// URIs are reached."""

    endpoint: str | None = Field(None, pattern=r"^https?://\S+$", max_length=300)
    """Endpoint of the S3 service; unset: AWS."""
    region: str | None = Field(None, max_length=50)
    """Region; unset: the standard chain decides."""
    path_style: Boolean | None = None
    """The bucket in the path (true, as most S3 services outside AWS want) or in the host name (false); unset: in the
    path when an endpoint is given."""
    secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), mounted into the pods."""


class CheckpointPolicy(ApiModel):
    """How often training state is saved, and how much of it is kept."""

    schema_defaults: ClassVar[bool] = False

    every_steps: Integer = Field(500, ge=1)
    """Optimiser steps between two checkpoints; one is also saved at each validation and on SIGTERM."""
    keep_last: Integer = Field(2, ge=1, le=100)
    """Resumable checkpoints that are kept; the best ones are kept apart, without optimiser state."""


class Resources(ApiModel):
    """What the training gang gets."""

    rules = (
        Rule(
            "processesPerNode must not exceed gpusPerNode: each process needs a GPU of its own",
            "!has(self.processesPerNode) || !has(self.gpusPerNode) || self.gpusPerNode == 0 || "
            "self.processesPerNode <= self.gpusPerNode",
            lambda r: (
                r.processes_per_node is None
                or r.gpus_per_node == 0
                or r.processes_per_node <= r.gpus_per_node
            ),
        ),
    )

    nodes: Integer = Field(1, ge=1, le=1024)
    """Nodes (pods) in the gang."""
    gpus_per_node: Integer = Field(0, ge=0, le=64)
    """GPUs a node; 0 trains on the CPU (or on a laptop's one GPU when there is one)."""
    processes_per_node: Integer | None = Field(None, ge=1, le=64)
    """Training processes a node; unset: one a GPU, or one on CPU."""
    cpu: str | None = Field(None, pattern=r"^[0-9]+m?$", max_length=20)
    """CPU request a node, a Kubernetes quantity."""
    memory: str | None = Field(None, pattern=QUANTITY_PATTERN, max_length=20)
    """Memory request and limit a node, a Kubernetes quantity."""
    shared_memory: str | None = Field(None, pattern=QUANTITY_PATTERN, max_length=20)
    """Size of /dev/shm, a Kubernetes quantity."""


class RuntimeRef(ApiModel):
    """The platform team's half."""

    name: Name
    """Name of the runtime."""
    kind: Literal["ASRRuntime", "ClusterASRRuntime"] = "ClusterASRRuntime"
    """Namespaced or cluster-wide."""


class OutputSpec(ApiModel):
    """Where results go."""

    rules = (
        uri_rule(),
        Rule(
            "output is immutable, since everything of a run lies in one place: create a new ASRFinetune instead",
            "self == oldSelf",
            None,
        ),
    )

    uri: Uri
    """Directory (relative to the manifest) or s3:// prefix."""


class FinetuneSpec(ApiModel):
    """Desired fine-tuning run."""

    rules = (
        Rule(
            "set exactly one of recipe (a preset) and stages (the whole chain)",
            "has(self.recipe) != has(self.stages)",
            lambda s: s.says("recipe") != s.says("stages"),
        ),
        Rule(
            "startAt names no stage: use the name of one of spec.stages",
            "!has(self.startAt) || !has(self.stages) || self.stages.exists(s, s.name == self.startAt)",
            lambda s: _names_a_stage(s, s.start_at),
        ),
        Rule(
            "stopAfter names no stage: use the name of one of spec.stages",
            "!has(self.stopAfter) || !has(self.stages) || self.stages.exists(s, s.name == self.stopAfter)",
            lambda s: _names_a_stage(s, s.stop_after),
        ),
        Rule(
            "pods: Shared is for one node: the other nodes would hold their GPUs idle in every stage but Train; "
            "set execution.pods to PerStage, or resources.nodes to 1",
            "!has(self.execution) || !has(self.execution.pods) || self.execution.pods != 'Shared' || "
            "!has(self.resources) || !has(self.resources.nodes) || self.resources.nodes == 1",
            lambda s: s.execution.pods is not PodSharing.SHARED or s.resources.nodes == 1,
        ),
        Rule(
            "execution.topology places the pods of a gang relative to each other: it needs resources.nodes > 1",
            "!has(self.execution) || !has(self.execution.topology) || "
            "(has(self.resources) && has(self.resources.nodes) && self.resources.nodes > 1)",
            lambda s: s.execution.topology is None or s.resources.nodes > 1,
        ),
        Rule(
            "two volumes have the same mountPath: one would hide the other",
            "!has(self.volumes) || self.volumes.all(v, self.volumes.exists_one(w, w.mountPath == v.mountPath))",
            lambda s: len({one.mount_path for one in s.volumes}) == len(s.volumes),
        ),
    )

    model: ModelRef
    """The model to start from."""
    data: DataSpec
    """Where the utterances are."""
    recipe: Recipe | None = None
    """A preset and what to change in it; either this or stages."""
    stages: list[StageSpec] | None = Field(None, min_length=1, max_length=32, json_schema_extra=list_map())
    """The whole chain, stage by stage; either this or recipe."""
    start_at: Name | None = None
    """First stage to run; what comes before must be finished already."""
    stop_after: Name | None = None
    """Last stage to run."""
    seed: Integer = Field(0, ge=0, le=2**31 - 1)
    """Seed of data order, initialisation and dropout."""
    storage: StorageSpec = Field(default_factory=StorageSpec)
    """How s3:// URIs are reached."""
    output: OutputSpec
    """Where results go."""
    checkpoint: CheckpointPolicy = Field(default_factory=CheckpointPolicy)
    """How often training state is saved."""
    resources: Resources = Field(default_factory=Resources)
    """What the training gang gets."""
    runtime_ref: RuntimeRef | None = None
    """The runtime; unset: the ClusterASRRuntime named default, if there is one."""
    run_policy: RunPolicy = Field(default_factory=RunPolicy)
    """How long the run may take, and what happens when it is disturbed."""
    quality_gate: QualityGate | None = None
    """What the fine-tuned model must reach; condition QualityGatePassed says whether it did."""
    execution: Execution = Field(default_factory=Execution)
    """What the operator makes of the run."""
    queue_name: Name | None = None
    """Kueue LocalQueue that the run waits in; unset: the runtime's, if it has one."""
    volumes: list[VolumeClaim] = Field(default_factory=list, max_length=16, json_schema_extra=list_map())
    """PersistentVolumeClaims for data and models that are not in S3."""
    suspend: Boolean = False
    """Save a checkpoint, release the GPUs, and wait until this is false again."""


def _names_a_stage(spec: FinetuneSpec, name: str | None) -> bool:
    return name is None or spec.stages is None or any(stage.name == name for stage in spec.stages)


class ASRFinetune(ApiModel):
    """A fine-tuning run of a FunASR model."""

    api_version: Literal["asrtune.dev/v1alpha1"] = API_VERSION
    """Version of the API."""
    kind: Literal["ASRFinetune"] = "ASRFinetune"
    """Kind of the object."""
    metadata: ObjectMeta
    """The object's metadata."""
    spec: FinetuneSpec
    """Desired fine-tuning run."""
    status: FinetuneStatus | None = None
    """Observed state; written by the operator, unread on a laptop."""
