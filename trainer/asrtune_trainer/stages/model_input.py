"""The base model as an input of stages: its digest, and its directory on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from asrtune_trainer.models.load import resolve_model
from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.stages.digest import directory_digest
from asrtune_trainer.storage import local_path


def base_model(context: StageContext) -> Path:
    """Directory of the base model, fetched if need be."""
    return resolve_model(context.run.model, context.stores, context.scratch)


def model_digest(context: StageContext) -> str:
    """What identifies the base model: its files' contents, their versions on S3, or name and revision on a hub."""
    model = context.run.model
    if model.uri is None:
        return f"{model.hub_service}:{model.hub}@{model.revision or 'default'}"
    path = local_path(model.uri)
    if path is not None:
        return directory_digest(base_model(context))
    entries = context.stores.of(model.uri).entries(model.uri)
    listed = "\n".join(f"{entry.name} {entry.size} {entry.version}" for entry in entries)
    return hashlib.sha256(listed.encode()).hexdigest()
