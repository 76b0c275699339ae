"""The status of an ASRFinetune: what the operator saw and did. Nobody else writes it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from asrtune_api.base import ApiModel, Decimal, Integer, Name, list_map
from asrtune_api.policy import Backend
from asrtune_api.scores import Score
from asrtune_api.stages import StageType


class Phase(StrEnum):
    """The state of a run in one word; the conditions say more."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ConditionType(StrEnum):
    """What a condition is about."""

    DATA_VALIDATED = "DataValidated"
    QUOTA_RESERVED = "QuotaReserved"
    RUNNING = "Running"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    QUALITY_GATE_PASSED = "QualityGatePassed"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StageState(StrEnum):
    """How far a stage is."""

    PENDING = "Pending"
    RUNNING = "Running"
    INTERRUPTED = "Interrupted"
    SKIPPED = "Skipped"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Condition(ApiModel):
    """One aspect of the run's state, as in every Kubernetes object."""

    type: ConditionType
    """What the condition is about."""
    status: ConditionStatus
    """Whether it holds."""
    reason: str = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    """Why, as one CamelCase word from a closed list."""
    message: str = Field("", max_length=4096)
    """Why, for people, with what to do about it."""
    last_transition_time: AwareDatetime
    """When the status changed last."""
    observed_generation: Integer | None = Field(None, ge=0)
    """The generation of the spec that the condition is about."""


class StageStatus(ApiModel):
    """How one stage is doing."""

    name: Name
    """Name of the stage."""
    type: StageType
    """What the stage does."""
    state: StageState
    """How far it is; Skipped: it was finished already, by an earlier run with the same inputs."""
    attempts: Integer = Field(0, ge=0)
    """How often it was started."""
    retries: Integer = Field(0, ge=0)
    """Attempts of these that ended in a failure and count against runPolicy.maxRetries."""
    interruptions: Integer = Field(0, ge=0)
    """Attempts of these that ended by preemption, eviction or the loss of a node."""
    stall_restarts: Integer = Field(0, ge=0)
    """Attempts of these that were stopped because they made no progress."""
    started_at: AwareDatetime | None = None
    """When it started first."""
    finished_at: AwareDatetime | None = None
    """When it finished."""
    artifact_uri: str | None = Field(None, max_length=1100)
    """Where its files lie."""
    metrics: Annotated[dict[str, Decimal], Field(max_length=100)] = Field(default_factory=dict)
    """What it measured, by name."""


class Progress(ApiModel):
    """How far the whole run is."""

    percent: Integer = Field(ge=0, le=100)
    """Share of the run's work that is done."""
    stage_percent: Decimal | None = Field(None, ge=0, le=100)
    """Share of the running stage's work that is done."""
    step: Integer | None = Field(None, ge=0)
    """Optimiser steps done by the Train stage that runs, or ran last."""
    total_steps: Integer | None = Field(None, ge=0)
    """Optimiser steps that this Train stage will do at most."""
    eta_seconds: Integer | None = Field(None, ge=0)
    """Estimated seconds until the run is done."""
    eta: str | None = Field(None, max_length=20)
    """The same for people, such as 1h12m."""
    loss: Decimal | None = None
    """The last training loss."""
    utterances_per_second: Decimal | None = Field(None, ge=0)
    """Training speed."""
    checkpoint_step: Integer | None = Field(None, ge=0)
    """Optimiser step of the last checkpoint that was saved."""
    checkpoint_at: AwareDatetime | None = None
    """When it was saved."""
    advanced_at: AwareDatetime | None = None
    """When the running attempt last made progress; what a stall is judged by."""


class BestCer(ApiModel):
    """The best character error rate so far, in percent."""

    percent: Decimal = Field(ge=0)
    """Character error rate."""
    low: Decimal | None = Field(None, ge=0)
    """Lower end of its 95 % interval."""
    high: Decimal | None = Field(None, ge=0)
    """Upper end of its 95 % interval."""
    set: str | None = Field(None, max_length=63)
    """The set it was measured on: a test set, or unset for validation during training."""


class LostTime(ApiModel):
    """GPU time spent for nothing."""

    reason: str = Field(min_length=1, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    """Why, as one CamelCase word, such as Preempted."""
    gpu_seconds: Integer = Field(ge=0)
    """How much."""


class Usage(ApiModel):
    """What the run has cost."""

    gpu_seconds: Integer = Field(0, ge=0)
    """GPU time in all."""
    lost_gpu_seconds: Integer = Field(0, ge=0)
    """GPU time of it whose work had to be done again."""
    lost: list[LostTime] = Field(default_factory=list, max_length=32, json_schema_extra=list_map("reason"))
    """Why it was lost."""
    cost: Decimal | None = Field(None, ge=0)
    """GPU time times the runtime's price of a GPU hour."""


class AttemptStatus(ApiModel):
    """One set of pods that ran a stage, or several stages together."""

    stage: Name
    """The stage, or the first of several."""
    attempt: Integer = Field(ge=1)
    """Number of the attempt, from 1; it only grows."""
    backend: Backend
    """What ran its pods."""
    created_at: AwareDatetime
    """When it was made."""
    started_at: AwareDatetime | None = None
    """When all its pods ran first."""
    finished_at: AwareDatetime | None = None
    """When its last pod had ended."""
    verdict: str | None = Field(None, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    """How it ended; unset while it is alive."""
    message: str = Field("", max_length=1024)
    """The cause, for people."""
    gpu_seconds: Integer = Field(0, ge=0)
    """GPU time that it held."""
    lost_gpu_seconds: Integer = Field(0, ge=0)
    """GPU time of it whose work had to be done again."""


class Artifacts(ApiModel):
    """Where results lie."""

    model: str | None = Field(None, max_length=1100)
    """The fine-tuned model, a FunASR model directory."""
    report: str | None = Field(None, max_length=1100)
    """The report, one HTML file."""
    ledger: str | None = Field(None, max_length=1100)
    """Data digests, versions, seed, and what was spent."""


class RunStatus(ApiModel):
    """What the states of all kinds of runs have in common."""

    observed_generation: Integer | None = Field(None, ge=0)
    """The generation of the spec that this status is about."""
    phase: Phase | None = None
    """The state in one word."""
    stage: str | None = Field(None, max_length=63)
    """The stage that is running, or ran last."""
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, json_schema_extra=list_map("type")
    )
    """The state in detail."""
    stages: list[StageStatus] = Field(default_factory=list, max_length=32, json_schema_extra=list_map())
    """Each stage, in the order of the chain."""
    attempts: list[AttemptStatus] = Field(default_factory=list, max_length=50)
    """The last attempts, the oldest first."""
    progress: Progress | None = None
    """How far the whole run is."""
    usage: Usage | None = None
    """What the run has cost."""
    artifacts: Artifacts | None = None
    """Where results lie."""
    run_spec: str | None = Field(None, max_length=253)
    """Name of the ConfigMap with the RunSpec that this status is about: the resolved manifest, by its hash."""
    spec_digest: str | None = Field(None, max_length=64)
    """Digest of the part of the spec that the RunSpec was made from: another one starts the run again."""
    started_at: AwareDatetime | None = None
    """When the run's first pod ran."""
    finished_at: AwareDatetime | None = None
    """When the run was complete or had failed."""
    suspended_at: AwareDatetime | None = None
    """Since when the run is suspended."""
    paused_seconds: Integer = Field(0, ge=0)
    """How long the run was suspended before, in all."""
    retried: str | None = Field(None, max_length=253)
    """Value of the annotation asrtune.dev/retry that was acted on last."""


class FinetuneStatus(RunStatus):
    """Observed state of a fine-tuning run."""

    best_cer: BestCer | None = None
    """The best character error rate so far."""
    results: list[Score] = Field(default_factory=list, max_length=200)
    """What the Evaluate stages measured, by model and set."""
