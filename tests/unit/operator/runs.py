"""Runs for tests of the operator's pure parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from asrtune_api.finetune import ASRFinetune
from asrtune_api.policy import Backend
from asrtune_api.resolve import resolve
from asrtune_api.runtime import RuntimeSpec
from asrtune_operator.values.run import Identity, Run
from asrtune_operator.values.units import units_of

START = datetime(2026, 1, 1, tzinfo=UTC)
STAGES = [
    {"name": "prepare", "type": "Prepare"},
    {"name": "train", "type": "Train"},
    {"name": "evaluate", "type": "Evaluate"},
    {"name": "publish", "type": "Publish"},
]


def manifest(**spec: Any) -> dict[str, Any]:
    """An ASRFinetune; `spec` replaces fields of its spec."""
    fields = {
        "model": {"uri": "s3://models/base"},
        "data": {
            "train": [{"name": "calls", "uri": "s3://data/train.jsonl"}],
            "validation": [{"name": "calls", "uri": "s3://data/valid.jsonl"}],
            "test": [{"name": "calls", "uri": "s3://data/test.jsonl"}],
        },
        "stages": STAGES,
        "output": {"uri": "s3://runs/one"},
        "resources": {"nodes": 2, "gpusPerNode": 4},
        **spec,
    }
    return {
        "apiVersion": "asrtune.dev/v1alpha1",
        "kind": "ASRFinetune",
        "metadata": {"name": "one", "namespace": "speech"},
        "spec": fields,
    }


def run_of(*, retry: str | None = None, price: str | None = None, **spec: Any) -> Run:
    """The run of such a manifest."""
    finetune = ASRFinetune.model_validate(manifest(**spec))
    resolved = resolve(finetune, base=None)
    wanted = finetune.spec
    return Run(
        identity=Identity("ASRFinetune", "speech", "one", "uid-1"),
        generation=1,
        created=START,
        spec=resolved,
        digest="digest-of-" + str(hash(resolved.model_dump_json())),
        units=units_of(resolved, wanted.execution.pods, wanted.quality_gate),
        policy=wanted.run_policy,
        resources=wanted.resources,
        execution=wanted.execution,
        backend=wanted.execution.backend or Backend.JOB,
        runtime=RuntimeSpec.model_validate({"gpuPricePerHour": price} if price else {}),
        image="registry.example/asrtune:1",
        queue=wanted.queue_name,
        suspend=wanted.suspend,
        gate=wanted.quality_gate,
        retry=retry,
    )


def later(seconds: float) -> datetime:
    """So many seconds after the start."""
    return START + timedelta(seconds=seconds)
