"""From a manifest to a RunSpec: every value decided, and who decided it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from asrtune_api.base import ApiModel
from asrtune_api.chain import check_chain
from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import ASRFinetune, FinetuneSpec
from asrtune_api.layers import Layer, decide, defaults, merge, said
from asrtune_api.preset import Preset, load_preset
from asrtune_api.problems import problems_of
from asrtune_api.runspec import Decision, Origin, RunSpec
from asrtune_api.runtime import Runtime, RuntimeSpec
from asrtune_api.stages import PARAMS, StageOverride, StageSpec, StageType, stage_params
from asrtune_api.suggest import did_you_mean
from asrtune_api.uris import absolute_uri

DECIDED_APART = ("version", "stages", "decisions")
MANIFEST_PATHS = {"name": "metadata.name", "output": "spec.output.uri", "gang": "spec.resources"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What no manifest can say: where the run will happen.

    Attributes:
        credentials_dir: where the storage Secret is mounted; None outside a cluster.
        telemetry_host: address that /metrics and /progress bind.
        telemetry_port: their port where the runtime names none; 0 takes a free one, None serves nothing.
    """

    credentials_dir: str | None = None
    telemetry_host: str = "127.0.0.1"
    telemetry_port: int | None = None


LAPTOP = Place()
Checked = TypeVar("Checked", bound=ApiModel)


def resolve(
    finetune: ASRFinetune, runtime: Runtime | None = None, *, base: str | None, place: Place = LAPTOP
) -> RunSpec:
    """Decide everything: the user's word over the runtime's, over the preset's, over the defaults. Pure.

    Args:
        finetune: the manifest. Only fields that were set in it count as the user's word.
        runtime: the platform team's half, if there is one.
        base: what relative paths start from, the manifest's directory (absolute) or its s3:// prefix; None on a
            cluster, where relative paths are refused.
        place: where the run will happen.

    Raises:
        SpecInvalidError: the preset, a stage or a data source named does not exist, or values that are right each
            by itself do not go together.
    """
    spec = finetune.spec
    preset = load_preset(spec.recipe.preset) if spec.recipe is not None else None
    stages, stage_decisions = _resolve_stages(spec, preset)
    check_chain(spec, stages)
    seed = {"seed": defaults(FinetuneSpec)["seed"]}
    layers = [
        Layer(Origin.DEFAULT, lambda _: "default of FinetuneSpec", seed),
        *_derived(spec, runtime, place),
        *([Layer(Origin.PRESET, lambda _: f"preset {preset.name}", _by_preset(preset))] if preset else []),
        *([_by_runtime(spec, runtime)] if runtime else []),
        _by_user(finetune, base),
    ]
    values, decisions = merge(RunSpec, layers, skip=DECIDED_APART)
    return _checked(RunSpec, {**values, "stages": stages, "decisions": [*decisions, *stage_decisions]}, "")


def _resolve_stages(spec: FinetuneSpec, preset: Preset | None) -> tuple[list[StageSpec], list[Decision]]:
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
        stages.append(_checked(StageSpec, document, f"stage {stage.name}"))
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


def _by_user(finetune: ASRFinetune, base: str | None) -> Layer:
    spec = finetune.spec
    values = said(spec, without=("recipe", "stages", "resources", "runtime_ref", "output"))
    gang = said(spec.resources)
    values["gang"] = {
        key: gang[key] for key in ("nodes", "processes_per_node", "gpus_per_node") if key in gang
    }
    values.setdefault("storage", {}).pop("secret_ref", None)
    values["name"] = finetune.metadata.name
    values["output"] = spec.output.uri
    written = _relocate(values, base)
    return Layer(Origin.USER, lambda path: _manifest_path(path) + written.get(path, ""), values)


def _manifest_path(path: str) -> str:
    head, dot, rest = path.partition(".")
    return MANIFEST_PATHS.get(head, f"spec.{head}") + dot + rest


def _relocate(values: dict[str, Any], base: str | None) -> dict[str, str]:
    """Make all URIs absolute in place; path of each that changed -> how it was written."""
    places = [("output", values, "output")]
    places += [("model.uri", values["model"], "uri")] if "uri" in values["model"] else []
    for split in ("train", "validation", "test"):
        places += [(f"data.{split}.{s['name']}.uri", s, "uri") for s in values["data"].get(split, ())]
    written = {}
    for path, holder, key in places:
        uri = holder[key]
        holder[key] = absolute_uri(uri, base, where=_manifest_path(path))
        if holder[key] != uri:
            written[path] = f' (written as "{uri}")'
    return written


def _by_preset(preset: Preset) -> dict[str, Any]:
    return {"checkpoint": said(preset.checkpoint)}


def _by_runtime(spec: FinetuneSpec, runtime: Runtime) -> Layer:
    values = said(runtime.spec, without=("image", "backend", "pod", "nccl", "storage"))
    values["storage"] = (
        said(runtime.spec.storage, without=("secret_ref",)) if _shares_storage(spec, runtime.spec) else {}
    )
    return Layer(Origin.RUNTIME, lambda _: f"{runtime.kind} {runtime.metadata.name}", values)


def _shares_storage(spec: FinetuneSpec, runtime: RuntimeSpec) -> bool:
    """A manifest with an endpoint of its own gets nothing of the runtime's, above all not its credentials."""
    return spec.storage.endpoint in {None, runtime.storage.endpoint}


def _derived(spec: FinetuneSpec, runtime: Runtime | None, place: Place) -> list[Layer]:
    shared = runtime.spec.storage if runtime and _shares_storage(spec, runtime.spec) else None
    endpoint = spec.storage.endpoint or (shared.endpoint if shared else None)
    secret = spec.storage.secret_ref or (shared.secret_ref if shared else None)
    gpus = spec.resources.gpus_per_node
    return [
        _derive(
            "in the path, since an endpoint is named" if endpoint else "in the host name, as AWS wants it",
            {"storage": {"path_style": endpoint is not None}},
        ),
        *_derive_credentials(secret.name if secret else None, place),
        _derive(
            "one process a GPU" if gpus else "one process, since no GPU is asked for",
            {"gang": {"processes_per_node": gpus or 1}},
        ),
        _derive("where the run happens", {"telemetry": {"host": place.telemetry_host}}),
        *(
            [_derive("where the run happens", {"telemetry": {"port": place.telemetry_port}})]
            if place.telemetry_port is not None
            else []
        ),
    ]


def _derive_credentials(secret: str | None, place: Place) -> list[Layer]:
    if secret is None:
        return []
    if place.credentials_dir is None:
        reason = f"the Secret {secret} exists on a cluster only; here the AWS clients' standard chain finds credentials"
    else:
        reason = f"Secret {secret}, mounted"
    return [_derive(reason, {"storage": {"credentials_dir": place.credentials_dir}})]


def _derive(reason: str, values: Mapping[str, Any]) -> Layer:
    return Layer(Origin.DERIVED, lambda _: reason, values)


def _checked(model: type[Checked], values: Mapping[str, Any], where: str) -> Checked:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(str(problem) for problem in problems_of(error, model))
        raise SpecInvalidError(f"{problems}.", where=where) from error
