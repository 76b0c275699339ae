"""The manifest of a finished stage, and the fingerprint that says whether it still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asrtune_api.stages import StageSpec, semantic_params
from asrtune_trainer.stages.base import Finished, StageResult
from asrtune_trainer.stages.digest import file_digest
from asrtune_trainer.storage.tree import files_under

MANIFEST = "manifest.json"
ATTEMPT = "attempt.json"


class ManifestFile(BaseModel):
    """A file of a finished stage."""

    size: int
    sha256: str


class StageManifest(BaseModel):
    """What proves that a stage is finished. Written last."""

    # As null, a metric that is not finite could not be read back, and the stage would be repeated for ever.
    model_config = ConfigDict(ser_json_inf_nan="strings")

    stage: str
    type: str
    fingerprint: str
    inputs: dict[str, str]
    """Name of each input -> digest; earlier stages by name, others as the stage calls them."""
    started: datetime
    seconds: float
    outputs: dict[str, str]
    metrics: dict[str, float] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, ManifestFile]
    versions: dict[str, str] = Field(default_factory=dict)

    def finished(self, directory: Path) -> Finished:
        """As later stages see it."""
        digest = hashlib.sha256(
            json.dumps({name: file.sha256 for name, file in sorted(self.files.items())}).encode()
        )
        return Finished(
            self.stage, self.type, directory, self.outputs, self.metrics, self.details, digest.hexdigest()
        )

    def lies_in(self, directory: Path) -> bool:
        """Whether all files are there with their sizes."""
        for name, file in self.files.items():
            path = directory / name
            if not path.is_file() or path.stat().st_size != file.size:
                return False
        return True


def parse_manifest(data: bytes) -> StageManifest | None:
    """A manifest, or None where it was written by a version that this one does not understand."""
    try:
        return StageManifest.model_validate_json(data)
    except ValidationError:
        return None


def fingerprint(stage: StageSpec, version: int, inputs: Mapping[str, str]) -> str:
    """SHA-256 over everything that can change the stage's result."""
    document = {
        "type": stage.type,
        "version": version,
        "params": semantic_params(stage),
        "inputs": dict(sorted(inputs.items())),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def make_manifest(
    stage: StageSpec,
    mark: str,
    inputs: Mapping[str, str],
    result: StageResult,
    directory: Path,
    *,
    started: datetime,
) -> StageManifest:
    """Digest the stage's files and put the manifest together."""
    skip = tuple(f"{name}/" for name in result.exclude)
    files = {
        name: ManifestFile(size=path.stat().st_size, sha256=file_digest(path))
        for name, path in files_under(directory)
        if name not in {MANIFEST, ATTEMPT, *result.exclude} and not name.startswith(skip)
    }
    return StageManifest(
        stage=stage.name,
        type=stage.type,
        fingerprint=mark,
        inputs=dict(inputs),
        started=started,
        seconds=(datetime.now(UTC) - started).total_seconds(),
        outputs=dict(result.outputs),
        metrics=dict(result.metrics),
        details=dict(result.details),
        files=files,
    )
