"""What rank 0 serves at /progress: the trainer writes it, the operator reads it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Throughput(BaseModel):
    """Training speed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    utterances_per_second: float | None = None
    audio_seconds_per_second: float | None = None


class SetScore(BaseModel):
    """How one model did on one test set, in percent; a number that is not finite is absent."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    set: str
    model: str
    cer: float | None = None
    low: float | None = None
    high: float | None = None
    retention: bool = False


class ProgressDocument(BaseModel):
    """Where a run stands. Times are unix seconds, rates percent; nothing in it is infinite or not a number."""

    # A newer trainer may say more than an older operator knows.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    run: str
    attempt: int = 0
    """As the process was told; 0 where nobody counts, as on a laptop."""
    stage: str = ""
    """The stage that is running, or ran last; empty before the first."""
    stage_type: str = ""
    stage_state: str = "starting"
    """starting, waiting (for the gang, or for a download), running, skipped or finished."""
    waiting_for: str = ""
    """Rendezvous or Download while it waits, else empty."""
    waiting_message: str = ""
    """What it waits for, for people."""
    stage_position: int = 0
    stage_count: int = 0
    stage_percent: float = 0.0
    stage_eta_seconds: float | None = None
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    total_steps: int = 0
    skipped_steps: int = 0
    percent: float = 0.0
    """Of the part of the chain that this process runs."""
    eta_seconds: float | None = None
    throughput: Throughput = Field(default_factory=Throughput)
    last_loss: float | None = None
    best_cer: float | None = None
    """The lowest in a validation so far."""
    checkpoint_step: int | None = None
    """Optimiser step of the last checkpoint that is complete at the output URI."""
    checkpoint_at: float | None = None
    """When it was complete; unset for one that an earlier process saved."""
    work_reports: int = 0
    """How often work was counted, of any kind: grows also where percent and step stand, as in a long validation."""
    scores: list[SetScore] = Field(default_factory=list)
    """The last of each test set and model."""
    started: float = 0.0
    updated: float = 0.0
    """Time of the last event: what is long ago hangs."""
