"""Finds a model's directory, and loads it as a `SpeechModel`."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path

import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import ModelRef
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.models.build import build
from asrtune_trainer.models.ctc import CtcModel
from asrtune_trainer.models.directory import ModelDirectory, load_strictly, read_directory, read_weights
from asrtune_trainer.models.funasr_model import FunasrModel
from asrtune_trainer.models.hub import Fetching, fetch_from_hub
from asrtune_trainer.models.paraformer import ParaformerModel
from asrtune_trainer.models.remote import model_entries
from asrtune_trainer.models.sensevoice import SenseVoiceModel
from asrtune_trainer.storage import Stores, local_path

FAMILIES: dict[str, type[FunasrModel]] = {
    "CTC": CtcModel,
    "Paraformer": ParaformerModel,
    "SenseVoiceSmall": SenseVoiceModel,
}
"""FunASR's model class -> its family here."""


def load_model(directory: Path, *, device: torch.device, seed: int) -> SpeechModel:
    """Builds the model of a directory with its weights, in evaluation mode.

    Args:
        directory: a FunASR model directory.
        device: where the module goes.
        seed: of what is drawn while it is built; the caller's random state stays as it is.

    Raises:
        SpecInvalidError: not a model directory, a model class we do not train, or weights that do not fit it.
    """
    source = read_directory(directory)
    family = FAMILIES[check_supported(source)]
    built = build(source, seed)
    load_strictly(built.module, read_weights(source.weights), source.weights)
    built.module.to(device).eval()
    return family(source, built)


def check_supported(source: ModelDirectory) -> str:
    """FunASR's name of the model's class.

    Raises:
        SpecInvalidError: a model class we do not train.
    """
    if source.model_class not in FAMILIES:
        raise SpecInvalidError(
            f"the model class {source.model_class} is not supported.",
            where=str(source.path),
            remedy=f"Use a model of one of these classes: {', '.join(sorted(FAMILIES))}.",
            reason="ModelUnsupported",
        )
    return source.model_class


def resolve_model(ref: ModelRef, stores: Stores, scratch: Path, *, fetching: Fetching = nullcontext) -> Path:
    """The directory of a model on this machine, fetched where it lies elsewhere.

    Args:
        ref: directory, s3:// prefix, or name on a hub.
        stores: reads the s3:// prefix.
        scratch: where models are fetched to, each once.
        fetching: is entered while it is fetched.

    Raises:
        SpecInvalidError: there is no such model.
        StorageUnavailableError: the storage or the hub cannot be reached or refuses us.
    """
    if ref.uri is None:
        return fetch_from_hub(ref, scratch / "hub", fetching=fetching)
    path = local_path(ref.uri)
    if path is not None:
        return path
    entries = model_entries(stores, ref.uri)
    listed = "".join(f"{entry.uri} {entry.size} {entry.version}\n" for entry in entries)
    directory = scratch / "models" / hashlib.sha256(listed.encode()).hexdigest()[:16]
    if not directory.is_dir():
        with fetching():
            stores.of(ref.uri).fetch(ref.uri, directory)
    return directory
