"""What a run was made of and what it cost: `ledger.json`."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from asrtune_api.runspec import RunSpec
from asrtune_api.stages import StageType
from asrtune_trainer.stages.manifest import StageManifest

SECONDS_AN_HOUR = 3600
_PACKAGES = ("asrtune", "torch", "funasr", "numpy", "soundfile", "soxr", "kaldi-native-fbank")


def versions() -> dict[str, str]:
    """Versions of what can change a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def ledger(run: RunSpec, manifests: Mapping[str, StageManifest]) -> bytes:
    """The ledger of a run, as JSON."""
    stages: dict[str, Any] = {
        name: {
            "type": one.type,
            "started": one.started.isoformat(),
            "seconds": one.seconds,
            "inputs": one.inputs,
            "versions": one.versions,
            "metrics": one.metrics,
        }
        for name, one in manifests.items()
    }
    gpus = {
        StageType.TRAIN: run.gang.nodes * run.gang.gpus_per_node,
        StageType.EVALUATE: min(1, run.gang.gpus_per_node),  # one process decodes
    }
    spent = sum(gpus.get(StageType(one.type), 0) * one.seconds for one in manifests.values())
    document: dict[str, Any] = {
        "name": run.name,
        "seed": run.seed,
        "stages": stages,
        "gpuSeconds": spent,
    }
    if run.gpu_price_per_hour is not None:
        document["cost"] = run.gpu_price_per_hour * spent / SECONDS_AN_HOUR
    return json.dumps(document, indent=1, ensure_ascii=False).encode()
