"""From a manifest to a RunSpec: every value decided, and who decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asrtune_api.chain import check_chain
from asrtune_api.finetune import ASRFinetune, FinetuneSpec, StorageSpec
from asrtune_api.gate import Gate
from asrtune_api.layers import Layer, decide, defaults, merge, said
from asrtune_api.preset import Preset, load_preset
from asrtune_api.resolve_stages import checked, resolve_stages
from asrtune_api.runspec import Decision, Origin, RunSpec
from asrtune_api.runtime import Runtime, RuntimeSpec
from asrtune_api.uris import absolute_uri

CLUSTER_ONLY = (
    *("recipe", "stages", "resources", "runtime_ref", "output"),
    *("run_policy", "quality_gate", "execution", "queue_name", "volumes", "suspend"),
)
"""Fields of a finetune that are not copied into the RunSpec: resolved apart, or the operator's business."""
RUNTIME_ONLY = ("image", "backend", "pod", "nccl", "storage", "queue_name", "gpu_resource")
DECIDED_APART = ("version", "stages", "comparison", "quality_gate", "decisions")
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
    stages, stage_decisions = resolve_stages(spec, preset)
    check_chain(spec, stages)
    seed = {"seed": defaults(FinetuneSpec)["seed"]}
    layers = [
        Layer(Origin.DEFAULT, lambda _: "default of FinetuneSpec", seed),
        *derived_layers(spec.storage, spec.resources.gpus_per_node, runtime, place),
        *([Layer(Origin.PRESET, lambda _: f"preset {preset.name}", _by_preset(preset))] if preset else []),
        *([runtime_layer(spec.storage, runtime)] if runtime else []),
        _by_user(finetune, base),
    ]
    values, decisions = merge(RunSpec, layers, skip=DECIDED_APART)
    apart = {"stages": stages, "quality_gate": spec.quality_gate}
    gate = gate_decisions(spec.quality_gate)
    return checked(RunSpec, {**values, **apart, "decisions": [*decisions, *gate, *stage_decisions]}, "")


def _by_user(finetune: ASRFinetune, base: str | None) -> Layer:
    spec = finetune.spec
    values = said(spec, without=CLUSTER_ONLY)
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


def gate_decisions(gate: Gate | None) -> list[Decision]:
    """The decision about a quality gate, where there is one: only users have it."""
    if gate is None:
        return []
    value = gate.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    return [decide("qualityGate", value, Origin.USER, "spec.qualityGate")]


def _by_preset(preset: Preset) -> dict[str, Any]:
    return {"checkpoint": said(preset.checkpoint), "preset_models": preset.models}


def runtime_layer(storage: StorageSpec, runtime: Runtime) -> Layer:
    """What a runtime decides for a manifest with this storage."""
    values = said(runtime.spec, without=RUNTIME_ONLY)
    values["storage"] = (
        said(runtime.spec.storage, without=("secret_ref",)) if _shares_storage(storage, runtime.spec) else {}
    )
    return Layer(Origin.RUNTIME, lambda _: f"{runtime.kind} {runtime.metadata.name}", values)


def _shares_storage(storage: StorageSpec, runtime: RuntimeSpec) -> bool:
    """A manifest with an endpoint of its own gets nothing of the runtime's, above all not its credentials."""
    return storage.endpoint in {None, runtime.storage.endpoint}


def storage_secret(storage: StorageSpec, runtime: Runtime | None) -> str | None:
    """Name of the Secret with the storage credentials for a manifest with this storage."""
    shared = runtime.spec.storage if runtime and _shares_storage(storage, runtime.spec) else None
    secret = storage.secret_ref or (shared.secret_ref if shared else None)
    return secret.name if secret else None


def derived_layers(storage: StorageSpec, gpus: int, runtime: Runtime | None, place: Place) -> list[Layer]:
    """What follows from a manifest's storage, its GPUs a node, the runtime and the place."""
    shared = runtime.spec.storage if runtime and _shares_storage(storage, runtime.spec) else None
    endpoint = storage.endpoint or (shared.endpoint if shared else None)
    secret = storage_secret(storage, runtime)
    return [
        _derive(
            "in the path, since an endpoint is named" if endpoint else "in the host name, as AWS wants it",
            {"storage": {"path_style": endpoint is not None}},
        ),
        *_derive_credentials(secret, place),
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
