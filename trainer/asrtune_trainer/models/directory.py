"""Reads a FunASR model directory: its configuration as FunASR itself reads it, and its weights, strictly."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.models.funasr_import import funasr_module, isolated

State = dict[str, torch.Tensor]
_REMEDY = "Give the directory of a FunASR model: configuration.json or config.yaml, model.pt, tokens, am.mvn."
_SHOWN = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """A model directory whose configuration was read."""

    path: Path
    config: Mapping[str, Any]
    """config.yaml with the paths of tokens, CMVN and weights put in, interpolations resolved."""

    @property
    def model_class(self) -> str:
        """FunASR's name of the model class: CTC, Paraformer, SenseVoiceSmall..."""
        return str(self.config["model"])

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return Path(self.config["init_param"])


def read_directory(path: Path) -> ModelDirectory:
    """Reads the configuration; nothing that the directory brings along is executed.

    Raises:
        SpecInvalidError: not a model directory: no or broken configuration, no model class, no weights.
    """
    path = path.absolute()
    if not path.is_dir():
        raise _invalid(path, "there is no such model directory.", _REMEDY)
    if not any((path / name).is_file() for name in ("configuration.json", "config.yaml")):
        raise _invalid(path, "the model directory has no configuration.json and no config.yaml.", _REMEDY)
    config = _read_config(path)
    _check_files(path)
    if config.get("model") in {None, "", str(path)}:
        raise _invalid(
            path,
            "the configuration names no model class.",
            "config.yaml needs a line such as 'model: SenseVoiceSmall', and configuration.json, where there is one, "
            "must name that file under file_path_metas.config.",
        )
    weights = config.get("init_param")
    if not isinstance(weights, str) or not Path(weights).is_file():
        raise _without_weights(path)  # stock FunASR prints a line and goes on with random weights
    return ModelDirectory(path, config)


def _read_config(path: Path) -> dict[str, Any]:
    hub = funasr_module("funasr.download.download_model_from_hub")
    try:
        with isolated():
            logging.disable(logging.WARNING)  # "trust_remote_code: False", at every load
            # Said here, trust_remote_code wins over a config.yaml that switches it on.
            config = hub.download_from_ms(model=str(path), model_path=str(path), trust_remote_code=False)
    except AssertionError as error:  # its way of saying that there is no model.pt
        raise _without_weights(path) from error
    except Exception as error:
        raise _invalid(
            path,
            f"the configuration cannot be read: {type(error).__name__}: {error}",
            "Mend configuration.json or config.yaml, or fetch the model again.",
        ) from error
    return {key: value for key, value in config.items() if key not in {"trust_remote_code", "model_path"}}


def _check_files(path: Path) -> None:
    """Files that configuration.json names must be there: stock FunASR goes on without them, with another model."""
    if not (path / "configuration.json").is_file():
        return
    metas = json.loads((path / "configuration.json").read_text("utf-8")).get("file_path_metas", {})
    if absent := [
        name for name in _names(metas) if not (path / name).exists() and name != metas.get("init_param")
    ]:
        raise _invalid(
            path,
            f"configuration.json names files, but the model directory does not hold {', '.join(absent)}.",
            "Fetch the model again, or correct file_path_metas.",
        )


def _names(metas: Any) -> list[str]:
    if isinstance(metas, str):
        return [metas]
    parts = metas.values() if isinstance(metas, dict) else metas if isinstance(metas, list) else ()
    return [name for part in parts for name in _names(part)]


def read_weights(path: Path) -> State:
    """Reads a file of weights; only tensors are unpickled (`weights_only`).

    Returns:
        the state dict, on the CPU, taken out of a checkpoint where it is in one.

    Raises:
        SpecInvalidError: the file is damaged or holds something else than weights.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError, TypeError, LookupError, EOFError, OSError, AttributeError) as error:
        raise _damaged(path, error) from error
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error) and "Weights only" not in str(error):
            raise _damaged(path, error) from error
        raise _invalid(
            path,
            "the file is damaged, or holds Python objects besides tensors, which are not loaded.",
            "Fetch it again, or save the state dict alone with torch.save.",
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and key in loaded:
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not any(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise _invalid(path, "the file holds no weights.", "Give a state dict saved with torch.save.")
    return {key: value for key, value in loaded.items() if isinstance(value, torch.Tensor)}


def load_strictly(module: torch.nn.Module, state: Mapping[str, torch.Tensor], where: Path) -> None:
    """Copies weights into the module; every tensor of the module must be there in its shape.

    Tensors that the module lacks are reported in the log and left out.

    Raises:
        SpecInvalidError: tensors are missing or have another shape.
    """
    own = module.state_dict()
    given = {key.removeprefix("module."): value for key, value in state.items()}
    missing = [key for key in own if key not in given]
    other = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    if missing or other:
        faults = [_count(missing, "missing"), _count(other, "of another shape")]
        raise _invalid(
            where,
            f"the weights do not fit the configuration: of {len(own)} tensors, {'; '.join(filter(None, faults))}.",
            "Use config.yaml, tokens and model.pt of the same model.",
        )
    if extra := [key for key in given if key not in own]:
        _log.warning("%s: %s: not part of the model, left out", where, _count(extra, "more"))
    module.load_state_dict({key: given[key] for key in own})


def _count(names: list[str], what: str) -> str:
    if not names:
        return ""
    dots = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{dots})"


def _without_weights(path: Path) -> SpecInvalidError:
    return _invalid(
        path,
        "the model directory has no weights.",
        "Put model.pt there; configuration.json, where there is one, must name it as file_path_metas.init_param.",
    )


def _damaged(path: Path, error: Exception) -> SpecInvalidError:
    reason = str(error).partition("\n")[0]
    return _invalid(path, f"the weights cannot be read: {reason}", "The file is damaged: fetch it again.")


def _invalid(path: Path, message: str, remedy: str) -> SpecInvalidError:
    return SpecInvalidError(message, where=str(path), remedy=remedy, reason="ModelInvalid")
