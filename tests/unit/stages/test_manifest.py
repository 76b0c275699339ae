"""Manifests of finished stages."""

import math
from datetime import UTC, datetime

from asrtune_trainer.stages.manifest import StageManifest, parse_manifest
from asrtune_trainer.train.job import TrainSummary


def test_metrics_that_are_not_finite_can_be_read_back():
    manifest = StageManifest(
        stage="train",
        type="Train",
        fingerprint="0",
        inputs={},
        started=datetime.now(UTC),
        seconds=1.0,
        outputs={},
        metrics={"loss": math.nan},
        details={"best_loss": math.inf},
        files={},
    )
    back = parse_manifest(manifest.model_dump_json(indent=1).encode())
    assert back is not None
    assert math.isnan(back.metrics["loss"])


def test_a_summary_that_is_not_finite_crosses_a_process_boundary():
    summary = TrainSummary(
        steps=1,
        epochs=1,
        skipped_steps=0,
        best_step=1,
        best_loss=math.nan,
        best_accuracy=None,
        best_cer=None,
        checkpoints=[],
        trainable_parameters=1,
        total_parameters=1,
        rejected=[],
    )
    assert math.isnan(TrainSummary.model_validate_json(summary.model_dump_json()).best_loss)
