"""A RunSpec for tests that need one, but none of its data."""

from __future__ import annotations

from pathlib import Path

from asrtune_api.finetune import CheckpointPolicy, DataSource, ModelRef, TrainSource
from asrtune_api.runspec import Gang, RunData, RunSpec, RunStorage, Telemetry
from asrtune_api.stages import StageSpec, StageType


def run_spec(
    directory: Path, *, telemetry: Telemetry | None = None, stop_after: str | None = None
) -> RunSpec:
    """A chain of Prepare, Train and Evaluate."""
    kinds = (StageType.PREPARE, StageType.TRAIN, StageType.EVALUATE)
    return RunSpec(
        name="demo",
        seed=1,
        output=str(directory),
        model=ModelRef(uri=str(directory / "base")),
        data=RunData(
            train=[TrainSource(name="train", uri=str(directory / "train.jsonl"))],
            validation=[DataSource(name="validation", uri=str(directory / "validation.jsonl"))],
        ),
        storage=RunStorage(),
        checkpoint=CheckpointPolicy(),
        gang=Gang(),
        telemetry=telemetry or Telemetry(),
        stages=[StageSpec(name=kind.lower(), type=kind) for kind in kinds],
        stop_after=stop_after,
    )
