"""The RunSpec: the JSON that a pod or a laptop run gets. It holds everything resolved; no default is decided later."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field, ValidationError

from asrtune_api.base import ApiModel, Boolean, Decimal, Integer, list_map
from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import CheckpointPolicy, DataSource, DataSpec, ModelRef, TrainSource
from asrtune_api.gate import QualityGate
from asrtune_api.stages import StageSpec

RUNSPEC_VERSION: Final = "asrtune.dev/runspec/v1alpha1"


class Origin(StrEnum):
    """Who decided a value."""

    USER = "user"
    PRESET = "preset"
    RUNTIME = "runtime"
    DEFAULT = "default"
    DERIVED = "derived"


class Decision(ApiModel):
    """Why a value is what it is."""

    path: str
    """Path in the RunSpec, list items by name: stages.train.learningRate."""
    value: str
    """The value as text."""
    origin: Origin
    """Who decided it."""
    reason: str = ""
    """Which preset, which runtime, or which rule."""


class RunStorage(ApiModel):
    """How s3:// URIs are reached, decided."""

    endpoint: str | None = None
    region: str | None = None
    path_style: Boolean = False
    credentials_dir: str | None = None
    """Directory of a mounted Secret; unset: the standard chain of AWS clients."""


class Gang(ApiModel):
    """Processes that train together."""

    nodes: Integer = 1
    processes_per_node: Integer = 1
    gpus_per_node: Integer = 0


class Telemetry(ApiModel):
    """Where a running stage can be watched."""

    port: Integer | None = None
    """Port of /metrics and /progress on rank 0; 0 takes a free one, unset serves nothing."""
    host: str = "127.0.0.1"
    """Address to bind."""
    push_gateway: str | None = None
    """URL of a Prometheus Pushgateway; unset pushes nothing."""


class RunData(DataSpec):
    """Where the utterances are; an evaluation trains on nothing."""

    train: list[TrainSource] = Field(default_factory=list, json_schema_extra=list_map())
    validation: list[DataSource] = Field(default_factory=list, json_schema_extra=list_map())


class StageModel(ApiModel):
    """What a stage of another run made."""

    output: str
    """That run's output: absolute local path or s3 URI. Its run.json says which model it began with."""
    stage: str
    """The Train or Average stage."""
    step: Integer | None = None
    """One of the checkpoints that a Train stage kept; unset: the stage's model, the best checkpoint or the mean."""


class Candidate(ApiModel):
    """A model that is compared: one that lies in a directory or on a hub, or what a stage of a run made."""

    name: str
    model: ModelRef | None = None
    made_by: StageModel | None = None

    @property
    def label(self) -> str:
        """What it is, for people."""
        if self.made_by is not None:
            step = "" if self.made_by.step is None else f", step {self.made_by.step}"
            return f"{self.made_by.output}, stage {self.made_by.stage}{step}"
        assert self.model is not None  # one of both is set
        revision = f" at {self.model.revision}" if self.model.revision else ""
        return self.model.uri or f"{self.model.hub}{revision}"


class HumanReference(ApiModel):
    """What people reach on a test set."""

    set: str
    percent: Decimal = Field(ge=0, le=1000)


class Comparison(ApiModel):
    """The models that an evaluation compares, instead of a base and what was trained from it."""

    candidates: list[Candidate]
    baseline: str | None = None
    """Name of the candidate that the others are compared with."""
    judged: list[str] = Field(default_factory=list)
    """Candidates that the quality gate judges; empty: all but the baseline."""
    human: list[HumanReference] = Field(default_factory=list)


class RunSpec(ApiModel):
    """One run, resolved."""

    version: Literal["asrtune.dev/runspec/v1alpha1"] = RUNSPEC_VERSION
    name: str
    """Name of the run: the object's."""
    seed: Integer
    output: str
    """Absolute local path or s3 URI."""
    preset_models: list[str] | None = None
    """Model classes that the preset's values suit; unset without a preset."""
    model: ModelRef | None = None
    """The model to start from, its URI absolute; unset in an evaluation, which has a comparison."""
    data: RunData
    """URIs are absolute."""
    storage: RunStorage
    checkpoint: CheckpointPolicy
    gang: Gang
    telemetry: Telemetry
    stages: list[StageSpec]
    """The chain; each stage holds its parameters in full."""
    comparison: Comparison | None = None
    """What Evaluate compares; unset: the base and what the chain trained from it."""
    quality_gate: QualityGate | None = None
    """What Publish waits for. Not part of any fingerprint."""
    start_at: str | None = None
    stop_after: str | None = None
    trust_remote_code: Boolean = False
    """Only a runtime may switch it on."""
    gpu_price_per_hour: Decimal | None = Field(None, ge=0)
    """Price of one GPU hour, for the cost figure."""
    decisions: list[Decision] = Field(default_factory=list)
    """Why each value is what it is. Not part of any fingerprint."""

    def manifest_field(self, path: str) -> str:
        """The field of the manifest that a path of this spec's data came from, for messages."""
        if self.comparison is None:
            return f"spec.{path}"
        return f"spec.{path.removeprefix('data.').replace('test[', 'testSets[', 1)}"


def parse_runspec(text: str | bytes) -> RunSpec:
    """Read a RunSpec, as `RunSpec.model_dump_json` wrote it.

    Raises:
        SpecInvalidError: the text is no RunSpec, or one of a version that this program does not know.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SpecInvalidError(f"is not JSON: {error}.", where="RunSpec", reason="RunSpecInvalid") from error
    version = document.get("version") if isinstance(document, dict) else None
    if version != RUNSPEC_VERSION:
        raise SpecInvalidError(
            f"its version is {version!r}, but this asrtune reads {RUNSPEC_VERSION!r}.",
            where="RunSpec",
            remedy="Run it with the version of asrtune that wrote it.",
            reason="RunSpecVersionUnknown",
        )
    try:
        return RunSpec.model_validate(document)
    except ValidationError as error:
        raise SpecInvalidError(
            f"is malformed: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}.",
            where="RunSpec",
            reason="RunSpecInvalid",
        ) from error
