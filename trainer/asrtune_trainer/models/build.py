"""Builds tokenizer, front end and module of a model directory from FunASR's registry, as its AutoModel does."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.models.directory import ModelDirectory
from asrtune_trainer.models.funasr_import import component, funasr_module, isolated

PARTS = ("encoder", "decoder", "predictor", "specaug", "normalize")
"""Keys of config.yaml that name a registered class, besides model, tokenizer and frontend."""


@dataclass(frozen=True, slots=True)
class Built:
    """A model with random weights and what it reads and writes with."""

    module: torch.nn.Module
    tokenizer: Any
    """FunASR's tokenizer."""
    frontend: Any
    """FunASR's front end: waveforms in, LFR and CMVN applied."""
    config: Mapping[str, Any]


def build(directory: ModelDirectory, seed: int) -> Built:
    """Builds the model with random weights drawn from `seed`; the caller's random state is left as it was.

    Raises:
        SpecInvalidError: FunASR does not know a class, or refuses its parameters or files.
    """
    config: dict[str, Any] = copy.deepcopy(dict(directory.config))
    for part in PARTS:
        if config.get(part) is not None:
            _class(directory, part, f"{part}_classes")
    with isolated():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  FunASR uses the old one
        torch.manual_seed(seed)
        tokenizer = _make(directory, "tokenizer", config.get("tokenizer_conf"))
        frontend = _make(directory, "frontend", config.get("frontend_conf"))
        vocabulary, size = _vocabulary(tokenizer)
        if size < 1:
            raise SpecInvalidError(
                f"the tokenizer {config['tokenizer']} has no tokens.",
                where=str(directory.path),
                remedy="Name its file in configuration.json under file_path_metas.tokenizer_conf.",
                reason="ModelInvalid",
            )
        made = {
            "tokenizer": tokenizer,
            "token_list": vocabulary,
            "vocab_size": size,
            "frontend": frontend,
            "input_size": frontend.output_size(),
        }
        update = funasr_module("funasr.utils.misc").deep_update
        parameters: dict[str, Any] = {}
        update(parameters, config.get("model_conf") or {})
        update(parameters, config | made)
        module = _make(directory, "model", parameters)
    return Built(module, tokenizer, frontend, config)


def _make(directory: ModelDirectory, key: str, parameters: Mapping[str, Any] | None) -> Any:
    cls = _class(directory, key, f"{key}_classes")
    try:
        return cls(**(parameters or {}))
    except Exception as error:
        raise SpecInvalidError(
            f"FunASR cannot make the {key} {directory.config[key]}: {type(error).__name__}: {error}.",
            where=str(directory.path),
            remedy=f"Compare {key}_conf and the files it names with the model's own configuration.",
            reason="ModelInvalid",
        ) from error


def _class(directory: ModelDirectory, key: str, table: str) -> Any:
    name = directory.config.get(key)
    cls = component(table, name) if isinstance(name, str) else None
    if cls is None:
        raise SpecInvalidError(
            f"FunASR knows no {key} {name!r}." if name else f"the configuration names no {key}.",
            where=str(directory.path),
            remedy=f"Write the name of a class that the installed FunASR has under '{key}' in config.yaml.",
            reason="ModelInvalid",
        )
    return cls


def _vocabulary(tokenizer: Any) -> tuple[Any, int]:
    """Token list (None where the tokenizer has none) and number of tokens, by AutoModel's rules."""
    tokens = getattr(tokenizer, "token_list", None)
    tokens = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else tokens
    if tokens is not None:
        return tokens, len(tokens)
    return None, tokenizer.get_vocab_size() if hasattr(tokenizer, "get_vocab_size") else -1
