"""Writes a model directory that stock FunASR loads by itself: configuration, weights, and the files they need."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from asrtune_api.errors import InternalStageError, SpecInvalidError
from asrtune_trainer.models.directory import ModelDirectory
from asrtune_trainer.storage.atomic import staged_directory
from asrtune_trainer.storage.errors import local_errors

_DROPPED = ("init_param", "trust_remote_code", "remote_code", "model_path", "output_dir")
"""Keys of config.yaml that do not travel: paths of this machine, and what would have code run."""

KeyPath = tuple[str, ...]


def write_directory(
    source: ModelDirectory,
    module: torch.nn.Module,
    directory: Path,
    state: Mapping[str, torch.Tensor],
    *,
    half: bool,
) -> None:
    """Writes the directory whole or not at all.

    Args:
        source: the directory the model was built from; tokens, CMVN and the like are copied from it.
        module: the model, for the names and shapes of its tensors.
        directory: where to; replaced where it exists.
        state: the weights.
        half: write floating-point weights as fp16.

    Raises:
        InternalStageError: the weights are not this model's.
        SpecInvalidError: fp16 cannot hold them.
        StorageUnavailableError: the directory cannot be written.
    """
    weights = _checked(module, state, half=half)
    config = _original(source)
    files = dict(_files(config, source.path))
    names = {key: _name(path, source.path) for key, path in files.items()}
    if len(set(names.values())) != len(set(files.values())):
        raise InternalStageError("two files of the model have one name", where=str(source.path))
    with staged_directory(directory) as stage, local_errors(directory):
        for key, path in files.items():
            (stage / names[key]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, stage / names[key])
        text = yaml.safe_dump(_without(config, list(files)), sort_keys=False, allow_unicode=True)
        (stage / "config.yaml").write_text(text, "utf-8")
        (stage / "configuration.json").write_text(
            json.dumps(_configuration(names), indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
        _save(weights, stage / "model.pt")


def _checked(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], *, half: bool
) -> dict[str, torch.Tensor]:
    own = module.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise InternalStageError(f"the weights to export are not this model's: {', '.join(wrong[:5])}")
    kinds = {
        key: torch.float16 if half and value.is_floating_point() else value.dtype
        for key, value in own.items()
    }
    weights = {key: state[key].detach().cpu().to(kind) for key, kind in kinds.items()}
    if half and (lost := [key for key, value in weights.items() if _overflows(state[key], value)]):
        raise SpecInvalidError(
            f"weights are too large for fp16: {', '.join(lost[:5])}.",
            where="export.weights",
            remedy="Export FP32.",
        )
    return weights


def _overflows(value: torch.Tensor, rounded: torch.Tensor) -> bool:
    return bool(value.isfinite().all()) and not bool(rounded.isfinite().all())


def _save(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    with path.open("wb") as file:
        try:
            torch.save({"state_dict": dict(weights)}, file)
        except RuntimeError as error:
            # torch hides what the file said, such as a full disk, behind an error of its own.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def _files(config: Mapping[str, Any], base: Path, at: KeyPath = ()) -> Iterator[tuple[KeyPath, Path]]:
    """The files that a configuration names (tokens, CMVN, seg_dict...), by their place in it."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _files(value, base, (*at, key))
        elif isinstance(value, str) and "/" in value and (base / value).is_file():
            yield (*at, key), base / value


def _name(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else path.name


def _original(source: ModelDirectory) -> dict[str, Any]:
    """The configuration of the base model, as far as it describes the model."""
    return {
        key: value
        for key, value in source.config.items()
        if key not in _DROPPED and not (key == "config" and isinstance(value, str))
    }


def _without(config: Mapping[str, Any], paths: list[KeyPath]) -> dict[str, Any]:
    """The configuration without the paths that configuration.json gives."""
    dropped = {path[0] for path in paths if len(path) == 1}
    return {
        key: _without(value, [path[1:] for path in paths if path[0] == key and len(path) > 1])
        if isinstance(value, Mapping)
        else value
        for key, value in config.items()
        if key not in dropped
    }


def _configuration(names: Mapping[KeyPath, str]) -> dict[str, Any]:
    metas: dict[str, Any] = {"init_param": "model.pt", "config": "config.yaml"}
    for (*sections, key), name in names.items():
        place = metas
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = name
    return {"framework": "pytorch", "task": "auto-speech-recognition", "file_path_metas": metas}
