"""Presets: chains with the parameters that users' own recipes found, as YAML data in presets/."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml
from pydantic import Field

from asrtune_api.base import ApiModel, Name, list_map
from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import CheckpointPolicy
from asrtune_api.stages import StageSpec
from asrtune_api.suggest import did_you_mean


class Preset(ApiModel):
    """A chain of stages; what a parameter's line does not say is left to the defaults."""

    name: Name
    """Name of the preset and of its file."""
    description: str = Field(min_length=1)
    """What it is for, for people who choose."""
    source: str = Field(min_length=1)
    """Where its values come from."""
    models: list[str] = Field(min_length=1)
    """FunASR's names of the model classes it suits."""
    stages: list[StageSpec] = Field(min_length=1, json_schema_extra=list_map())
    """The chain."""
    checkpoint: CheckpointPolicy = Field(default_factory=CheckpointPolicy)
    """How often training state is saved."""


def preset_names() -> list[str]:
    """Names of all presets, in alphabetical order."""
    directory = resources.files("asrtune_api") / "presets"
    return sorted(
        item.name.removesuffix(".yaml") for item in directory.iterdir() if item.name.endswith(".yaml")
    )


@cache
def load_preset(name: str) -> Preset:
    """Read a preset.

    Raises:
        SpecInvalidError: there is none of this name.
    """
    names = preset_names()
    if name not in names:
        raise SpecInvalidError(
            f'there is no preset "{name}".',
            where="spec.recipe.preset",
            remedy=did_you_mean(name, names, what="presets"),
            reason="PresetUnknown",
        )
    text = (resources.files("asrtune_api") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return Preset.model_validate(yaml.safe_load(text))
