"""ASREvaluation: models compared on test sets. CI creates one and waits for its condition."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from asrtune_api import API_VERSION
from asrtune_api.base import ApiModel, Boolean, Decimal, Integer, Name, Rule, Uri, list_map, uri_rule
from asrtune_api.evaluation_rules import EVALUATION_RULES
from asrtune_api.finetune import (
    HUB_PATTERN,
    OBJECT_NAME_PATTERN,
    QUANTITY_PATTERN,
    ObjectMeta,
    OutputSpec,
    RuntimeRef,
    StorageSpec,
    TestSource,
)
from asrtune_api.gate import Gate
from asrtune_api.policy import Execution, RunPolicy, VolumeClaim
from asrtune_api.scores import Score
from asrtune_api.stages import ScoringParams
from asrtune_api.status import BestCer, RunStatus

FinetuneName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)]


class FinetuneModel(ApiModel):
    """What a fine-tuning run made: its published model, a stage's model, or one of the checkpoints kept."""

    rules = (
        Rule(
            "set exactly one of name (an ASRFinetune in this namespace) and uri (a run's output)",
            "has(self.name) != has(self.uri)",
            lambda m: m.says("name") != m.says("uri"),
        ),
        Rule(
            "step is one of a stage's checkpoints: set stage beside it",
            "!has(self.step) || has(self.stage)",
            lambda m: m.step is None or m.stage is not None,
        ),
        uri_rule(optional=True),
    )

    name: FinetuneName | None = None
    """Name of an ASRFinetune in the same namespace. The evaluation waits until it has made the model."""
    uri: Uri | None = None
    """Output of a run that is no object here: a directory (relative to the manifest) or s3:// prefix."""
    stage: Name | None = None
    """Train stage (its best checkpoint) or Average stage (its mean); unset: the published model."""
    step: Integer | None = Field(None, ge=1)
    """Optimiser step of one of the checkpoints that the Train stage kept."""


class ComparedModel(ApiModel):
    """A model under the name that results give it."""

    rules = (
        Rule(
            "set exactly one of finetune (what a run made), uri (a directory or s3:// prefix) and hub (a name such as "
            "iic/SenseVoiceSmall)",
            "(has(self.finetune) ? 1 : 0) + (has(self.uri) ? 1 : 0) + (has(self.hub) ? 1 : 0) == 1",
            lambda m: sum(m.says(name) for name in ("finetune", "uri", "hub")) == 1,
        ),
        Rule(
            "revision belongs to a hub name: set hub, or remove revision",
            "!has(self.revision) || has(self.hub)",
            lambda m: not m.says("revision") or m.says("hub"),
        ),
        uri_rule(optional=True),
    )

    name: Name
    """Name of the model in results, unique in the list."""
    finetune: FinetuneModel | None = None
    """What a fine-tuning run made."""
    uri: Uri | None = None
    """Directory (relative to the manifest) or s3:// prefix of a FunASR model."""
    hub: str | None = Field(None, min_length=3, max_length=200, pattern=HUB_PATTERN)
    """Name on a model hub, such as iic/SenseVoiceSmall."""
    hub_service: Literal["ModelScope", "HuggingFace"] = "ModelScope"
    """Which hub."""
    revision: str | None = Field(None, max_length=100)
    """Revision on the hub; unset: the hub's default branch."""


class FinetuneRef(ApiModel):
    """An ASRFinetune in the same namespace."""

    name: FinetuneName
    """Name of the ASRFinetune."""


class Scoring(ScoringParams):
    """How models are decoded and scored."""

    schema_defaults: ClassVar[bool] = True


class HumanPercent(ApiModel):
    """What people reach on a test set."""

    set: Name
    """The test set."""
    percent: Decimal = Field(ge=0, le=1000)
    """Their error rate, in percent."""


class EvaluationGate(Gate):
    """What the compared models must reach."""

    models: list[Name] = Field(default_factory=list, max_length=16)
    """Models that are judged, by name; empty: all but the baseline."""


class EvaluationOutput(OutputSpec):
    """Where results go."""

    rules = (
        uri_rule(),
        Rule(
            "output is immutable, since everything of an evaluation lies in one place: create a new ASREvaluation "
            "instead",
            "self == oldSelf",
            None,
        ),
    )


class EvaluationResources(ApiModel):
    """What the one pod that decodes gets."""

    gpus: Integer = Field(0, ge=0, le=1)
    """GPUs; 0 decodes on the CPU (or on a laptop's one GPU when there is one)."""
    cpu: str | None = Field(None, pattern=r"^[0-9]+m?$", max_length=20)
    """CPU request, a Kubernetes quantity."""
    memory: str | None = Field(None, pattern=QUANTITY_PATTERN, max_length=20)
    """Memory request and limit, a Kubernetes quantity."""
    shared_memory: str | None = Field(None, pattern=QUANTITY_PATTERN, max_length=20)
    """Size of /dev/shm, a Kubernetes quantity."""


class EvaluationSpec(ApiModel):
    """Desired evaluation."""

    rules = EVALUATION_RULES

    models: list[ComparedModel] = Field(min_length=1, max_length=16, json_schema_extra=list_map())
    """The models to compare; each decodes every test set."""
    baseline: Name | None = None
    """Name of the model that the others are compared with, utterance by utterance."""
    test_sets: list[TestSource] | None = Field(
        None, min_length=1, max_length=64, json_schema_extra=list_map()
    )
    """Test sets; either these or testSetsFrom. The first that is no retention set decides which model is best."""
    test_sets_from: FinetuneRef | None = None
    """Take the test sets of this ASRFinetune."""
    max_rejected_percent: Integer = Field(5, ge=0, le=100)
    """The evaluation fails when more than this share of a test set's lines is unusable."""
    scoring: Scoring = Field(default_factory=Scoring)
    """How models are decoded and scored."""
    human_reference: list[HumanPercent] = Field(
        default_factory=list, max_length=64, json_schema_extra=list_map("set")
    )
    """What people reach, shown beside the models."""
    quality_gate: EvaluationGate | None = None
    """What the models must reach; condition QualityGatePassed says whether they did."""
    seed: Integer = Field(0, ge=0, le=2**31 - 1)
    """Seed of the intervals."""
    storage: StorageSpec = Field(default_factory=StorageSpec)
    """How s3:// URIs are reached, those of finetunes and their test sets too."""
    output: EvaluationOutput
    """Where results go; a place of its own, not the finetune's."""
    resources: EvaluationResources = Field(default_factory=EvaluationResources)
    """What the one pod that decodes gets."""
    runtime_ref: RuntimeRef | None = None
    """The runtime; unset: the ClusterASRRuntime named default, if there is one."""
    run_policy: RunPolicy = Field(default_factory=RunPolicy)
    """How long the evaluation may take, and what happens when it is disturbed."""
    execution: Execution = Field(default_factory=Execution)
    """What the operator makes of the evaluation."""
    queue_name: Name | None = None
    """Kueue LocalQueue that the evaluation waits in; unset: the runtime's, if it has one."""
    volumes: list[VolumeClaim] = Field(default_factory=list, max_length=16, json_schema_extra=list_map())
    """PersistentVolumeClaims for data and models that are not in S3."""
    suspend: Boolean = False
    """Keep what is decoded, release the GPU, and wait until this is false again."""


class BestModel(BestCer):
    """The model with the lowest error rate on the set that decides, in percent."""

    model: str = Field(min_length=1, max_length=63)
    """Its name."""


class EvaluationStatus(RunStatus):
    """Observed state of an evaluation."""

    best: BestModel | None = None
    """The best model on the first test set that is no retention set."""
    results: list[Score] = Field(default_factory=list, max_length=200)
    """Every test set with every model."""


class ASREvaluation(ApiModel):
    """A comparison of FunASR models on test sets."""

    api_version: Literal["asrtune.dev/v1alpha1"] = API_VERSION
    """Version of the API."""
    kind: Literal["ASREvaluation"] = "ASREvaluation"
    """Kind of the object."""
    metadata: ObjectMeta
    """The object's metadata."""
    spec: EvaluationSpec
    """Desired evaluation."""
    status: EvaluationStatus | None = None
    """Observed state; written by the operator, unread on a laptop."""
