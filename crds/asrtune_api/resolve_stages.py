"""The stages of a run: a preset's chain with its overrides, or the manifest's own chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from asrtune_api.base import ApiModel
from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import FinetuneSpec
from asrtune_api.layers import Layer, decide, merge, said
from asrtune_api.preset import Preset
from asrtune_api.problems import problems_of
from asrtune_api.runspec import Decision, Origin
from asrtune_api.stages import PARAMS, StageOverride, StageSpec, StageType, stage_params
from asrtune_api.suggest import did_you_mean

Checked = TypeVar("Checked", bound=ApiModel)


def resolve_stages(spec: FinetuneSpec, preset: Preset | None) -> tuple[list[StageSpec], list[Decision]]:
    """Decide every parameter of every stage.

    Args:
        spec: the manifest's spec, with a recipe or with stages of its own.
        preset: the recipe's preset; None where the manifest has stages of its own.

    Returns:
        The chain, each stage with its parameters in full, and a decision for each of them.

    Raises:
        SpecInvalidError: an override names a stage that the preset does not have, or is of another type; or merged
            values do not go together.
    """
    chain = preset.stages if preset else spec.stages or []
    overrides = {stage.name: stage for stage in spec.recipe.overrides} if spec.recipe else {}
    _check_overrides(overrides, chain, preset)
    stages, decisions = [], []
    for stage in chain:
        own = Origin.PRESET if preset else Origin.USER
        why = f"preset {preset.name}" if preset else f"spec.stages[{stage.name}].type"
        decisions.append(decide(f"stages.{stage.name}.type", stage.type, own, why))
        key, model = PARAMS[stage.type]
        layers = [_stage_layer(stage, preset)]
        override = getattr(overrides.get(stage.name), key, None)
        if override is not None:
            prefix = f"spec.recipe.overrides[{stage.name}].{key}"
            layers.append(_user_layer(said(override), f"stages.{stage.name}", prefix))
        values, more = merge(model, layers, f"stages.{stage.name}")
        decisions += more
        document = {"name": stage.name, "type": stage.type, key: values}
        stages.append(checked(StageSpec, document, f"stage {stage.name}"))
    return stages, decisions


def _stage_layer(stage: StageSpec, preset: Preset | None) -> Layer:
    values = said(stage_params(stage))
    if preset is not None:
        return Layer(Origin.PRESET, lambda _: f"preset {preset.name}", values)
    key, _ = PARAMS[stage.type]
    return _user_layer(values, f"stages.{stage.name}", f"spec.stages[{stage.name}].{key}")


def _user_layer(values: Mapping[str, Any], path: str, manifest_path: str) -> Layer:
    return Layer(Origin.USER, lambda at: manifest_path + at.removeprefix(path), values)


def _check_overrides(
    overrides: Mapping[str, StageOverride], chain: Sequence[StageSpec], preset: Preset | None
) -> None:
    types: dict[str, StageType] = {stage.name: stage.type for stage in chain}
    for name, override in overrides.items():
        where = f"spec.recipe.overrides[{name}]"
        label = preset.name if preset else ""
        if name not in types:
            raise SpecInvalidError(
                f'the preset {label} has no stage "{name}".',
                where=where,
                remedy=did_you_mean(name, types, what="stages"),
                reason="StageUnknown",
            )
        for kind in [override.type, *override.types_given()]:
            if kind not in {None, types[name]}:
                raise SpecInvalidError(
                    f"the stage {name} of the preset {label} is of type {types[name]}, not {kind}.",
                    where=where,
                    remedy=f"Put its parameters under {PARAMS[types[name]][0]}.",
                    reason="StageTypeMismatch",
                )


def checked(model: type[Checked], values: Mapping[str, Any], where: str) -> Checked:
    """Validate merged values.

    Raises:
        SpecInvalidError: values that are right each by itself do not go together.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(str(problem) for problem in problems_of(error, model))
        raise SpecInvalidError(f"{problems}.", where=where) from error
