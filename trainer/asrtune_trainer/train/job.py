"""What one process of a training gang is told: a file of JSON, the same for every rank."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from asrtune_api.runspec import RunSpec
from asrtune_api.stages import TrainParams
from asrtune_trainer.stages.fence import Attempt


class TrainJob(BaseModel):
    """A training stage, made concrete."""

    run: RunSpec
    stage: str
    params: TrainParams
    directory: Path
    """The stage's directory; checkpoints lie below it."""
    scratch: Path
    stage_uri: str
    """The stage's directory at the output URI."""
    attempt: Attempt | None = None
    """Which attempt this is, where they are counted."""
    fingerprint: str = ""
    """Of the stage: the nodes of a gang must agree on it."""
    model: Path
    """Directory of the base model."""
    weights: Path | None
    """Weights to start from instead of the base model's: an earlier stage's."""
    train: Path
    """List of training utterances; their audio lies on this machine."""
    validation: Path
    """List of validation utterances; likewise."""


class TrainSummary(BaseModel):
    """What a training gang leaves, beside its files."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    steps: int
    epochs: int
    skipped_steps: int
    best_step: int
    best_loss: float
    best_accuracy: float | None
    best_cer: float | None
    checkpoints: list[str]
    """The best checkpoints' weights, best first, relative to the stage's directory."""
    trainable_parameters: int
    total_parameters: int
    rejected: list[str]
    """Keys of training utterances that are larger than a batch."""

    @property
    def best_steps(self) -> set[int]:
        """Steps of the best checkpoints."""
        return {int(Path(path).parent.name.removeprefix("step-")) for path in self.checkpoints}
