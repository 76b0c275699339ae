"""ASRFinetune: what a speech engineer writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from asrtune_api import API_VERSION
from asrtune_api.base import ApiModel, Name, Uri
from asrtune_api.stages import StageSpec


class ObjectMeta(ApiModel):
    """The part of Kubernetes' object metadata that the trainer reads; the rest passes through unread."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the object."""
    namespace: str | None = None
    """Namespace of the object."""


class ModelRef(ApiModel):
    """The model to start from: a directory, an s3 URI, or a hub name."""

    uri: Uri | None = None
    """Directory (relative to the manifest) or s3:// prefix of a FunASR model."""
    hub: str | None = Field(None, min_length=3, max_length=200, pattern=r"^[\w.-]+/[\w.-]+$")
    """Name on a model hub, such as iic/SenseVoiceSmall."""
    hub_service: Literal["ModelScope", "HuggingFace"] = "ModelScope"
    """Which hub."""
    revision: str | None = Field(None, max_length=100)
    """Revision on the hub; unset: the hub's default branch."""


class DataSource(ApiModel):
    """One JSONL list of utterances."""

    name: Name
    """Name of the source, unique within its list."""
    uri: Uri
    """JSONL file: a path (relative to the manifest) or an s3 URI. Audio paths inside are relative to it."""


class TrainSource(DataSource):
    """Training data."""

    weight_percent: int = Field(100, ge=1, le=1000)
    """How much of the source an epoch holds: 100 each utterance once, 30 a random 30 %, 200 each twice."""


class TestSource(DataSource):
    """A test set."""

    __test__ = False  # not a pytest class

    retention: bool = False
    """The set measures what the base model could do already (the old domain), not the new domain."""


class DataSpec(ApiModel):
    """Where the utterances are."""

    train: list[TrainSource] = Field(
        min_length=1, max_length=64, json_schema_extra={"x-list-map-key": "name"}
    )
    """Training data; several sources are mixed by weight."""
    validation: list[DataSource] = Field(
        min_length=1, max_length=64, json_schema_extra={"x-list-map-key": "name"}
    )
    """Validation data: chooses checkpoints, never reported as a result."""
    test: list[TestSource] = Field(
        default_factory=list, max_length=64, json_schema_extra={"x-list-map-key": "name"}
    )
    """Test sets."""
    max_rejected_percent: int = Field(5, ge=0, le=100)
    """The run fails when more than this share of a source's lines is unusable."""


class Recipe(ApiModel):
    """A preset and what to change in it."""

    preset: str = Field(min_length=1, max_length=63)
    """Name of the preset."""
    overrides: list[StageSpec] = Field(
        default_factory=list, max_length=32, json_schema_extra={"x-list-map-key": "name"}
    )
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
    path_style: bool = False
    """Use path-style addresses, as most S3 services outside AWS want."""
    secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), mounted into the pods."""


class CheckpointPolicy(ApiModel):
    """How often training state is saved, and how much of it is kept."""

    every_steps: int = Field(500, ge=1)
    """Optimiser steps between two checkpoints; one is also saved at each validation and on SIGTERM."""
    keep_last: int = Field(2, ge=1, le=100)
    """Resumable checkpoints that are kept; the best ones are kept apart, without optimiser state."""


class Resources(ApiModel):
    """What the training gang gets."""

    nodes: int = Field(1, ge=1, le=1024)
    """Nodes (pods) in the gang."""
    gpus_per_node: int = Field(0, ge=0, le=64)
    """GPUs a node; 0 trains on the CPU (or on a laptop's one GPU when there is one)."""
    processes_per_node: int | None = Field(None, ge=1, le=64)
    """Training processes a node; unset: one a GPU, or one on CPU."""
    cpu: str | None = Field(None, pattern=r"^[0-9]+m?$")
    """CPU request a node, a Kubernetes quantity."""
    memory: str | None = Field(None, pattern=r"^[0-9]+(Ki|Mi|Gi|Ti)?$")
    """Memory request and limit a node, a Kubernetes quantity."""
    shared_memory: str | None = Field(None, pattern=r"^[0-9]+(Ki|Mi|Gi|Ti)?$")
    """Size of /dev/shm, a Kubernetes quantity."""


class RuntimeRef(ApiModel):
    """The platform team's half."""

    name: Name
    """Name of the runtime."""
    kind: Literal["ASRRuntime", "ClusterASRRuntime"] = "ClusterASRRuntime"
    """Namespaced or cluster-wide."""


class OutputSpec(ApiModel):
    """Where results go."""

    uri: Uri
    """Directory (relative to the manifest) or s3:// prefix."""


class FinetuneSpec(ApiModel):
    """Desired fine-tuning run."""

    model: ModelRef
    """The model to start from."""
    data: DataSpec
    """Where the utterances are."""
    recipe: Recipe | None = None
    """A preset and what to change in it; either this or stages."""
    stages: list[StageSpec] | None = Field(
        None, min_length=1, max_length=32, json_schema_extra={"x-list-map-key": "name"}
    )
    """The whole chain, stage by stage; either this or recipe."""
    start_at: Name | None = None
    """First stage to run; what comes before must be finished already."""
    stop_after: Name | None = None
    """Last stage to run."""
    seed: int = Field(0, ge=0, le=2**31 - 1)
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
    """The runtime; unset: the cluster's default one."""


class ASRFinetune(ApiModel):
    """A fine-tuning run of a FunASR model."""

    api_version: Literal["asrtune.dev/v1alpha1"] = API_VERSION
    kind: Literal["ASRFinetune"] = "ASRFinetune"
    metadata: ObjectMeta
    spec: FinetuneSpec
