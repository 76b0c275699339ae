"""A model as an input of stages: its digest, and its directory on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from asrtune_api.errors import InternalStageError
from asrtune_api.finetune import ModelRef
from asrtune_trainer.models.load import resolve_model
from asrtune_trainer.models.remote import model_entries
from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.stages.digest import directory_digest
from asrtune_trainer.stages.local_list import waiting
from asrtune_trainer.storage import local_path


def base_model(context: StageContext) -> Path:
    """Directory of the base model, fetched if need be."""
    return model_directory(context, base_reference(context))


def model_digest(context: StageContext) -> str:
    """What identifies the base model."""
    return reference_digest(context, base_reference(context))


def base_reference(context: StageContext) -> ModelRef:
    """The model that the run begins with.

    Raises:
        InternalStageError: an evaluation has none.
    """
    if context.run.model is None:
        raise InternalStageError(f"stage {context.stage.name} needs a base model, and the run has none")
    return context.run.model


def model_directory(context: StageContext, model: ModelRef) -> Path:
    """Directory of a model, fetched if need be."""
    what = f"for the model {model.uri or model.hub}"
    return resolve_model(model, context.stores, context.scratch, fetching=lambda: waiting(context, what))


def reference_digest(context: StageContext, model: ModelRef) -> str:
    """What identifies a model: its files' contents, their versions on S3, or name and revision on a hub."""
    if model.uri is None:
        return f"{model.hub_service}:{model.hub}@{model.revision or 'default'}"
    path = local_path(model.uri)
    if path is not None:
        return directory_digest(path)
    entries = model_entries(context.stores, model.uri)
    listed = "\n".join(f"{entry.name} {entry.size} {entry.version}" for entry in entries)
    return hashlib.sha256(listed.encode()).hexdigest()
