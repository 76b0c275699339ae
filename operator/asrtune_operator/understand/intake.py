"""From a custom resource to a run whose every value is decided, or to the reason why it is none. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import ValidationError

from asrtune_api.base import ApiModel
from asrtune_api.errors import AsrtuneError, NotReadyError, SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.finetune import ASRFinetune, Resources, RuntimeRef
from asrtune_api.gate import QualityGate
from asrtune_api.policy import Backend
from asrtune_api.problems import problems_of
from asrtune_api.resolve import resolve, storage_secret
from asrtune_api.resolve_evaluation import resolve_evaluation
from asrtune_api.runspec import RunSpec, parse_runspec
from asrtune_api.runtime import ASRRuntime, ClusterASRRuntime, Runtime, RuntimeSpec
from asrtune_api.suggest import did_you_mean
from asrtune_operator.backends.registry import choose, unavailable
from asrtune_operator.state.objects import RunObject, RuntimeObject
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, Resource
from asrtune_operator.values.observed import Wait, WaitReason
from asrtune_operator.values.places import POD
from asrtune_operator.values.run import Run, Unready
from asrtune_operator.values.units import units_of

Manifest = ASRFinetune | ASREvaluation
_SHOWN = 5
_FLEXIBLE = frozenset({"suspend", "run_policy"})
"""Parts of a spec that decide how and when a run is carried out, but not what it comes to."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a custom resource is understood by, besides itself.

    Attributes:
        runtime: the runtime that it names, or the cluster's default; None where there is none.
        runtimes: names of those that it could name of this kind.
        finetunes: those of its namespace that it names.
        served: kinds that the API server serves.
        image: where the runtime names none.
        kept: the RunSpec that its ConfigMap holds; None where there is no ConfigMap for this manifest.
        digest: of the manifest that pods run for, where it was edited since; the edit waits for their end.
    """

    runtime: RuntimeObject | None
    runtimes: Collection[str] = ()
    finetunes: Mapping[str, RunObject] = field(default_factory=dict)
    served: Collection[Resource]
    image: str
    kept: str | None = None
    digest: str | None = None


def parse(run: RunObject) -> Manifest | Unready:
    """The manifest, or what is wrong with it: the CRD lets through what only the models can check."""
    model = ASREvaluation if run.identity.evaluation else ASRFinetune
    try:
        return model.model_validate(run.manifest, by_alias=True, by_name=False)
    except ValidationError as error:
        return _unready(run, problem=_problems(error, model, run.manifest))


def digest_of(manifest: Manifest) -> str:
    """Of the part of a manifest that decides what is run; a new field of a newer version does not change it."""
    spec = manifest.spec.model_dump(mode="json", exclude_defaults=True, exclude=set(_FLEXIBLE))
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]


def understand(run: RunObject, manifest: Manifest, around: Surroundings) -> Run | Unready:
    """Decide every value of a run."""
    unready = partial(_unready, run, manifest=manifest)
    named = manifest.spec.runtime_ref
    if named is not None and around.runtime is None:
        text = (
            f"there is no {named.kind} {named.name}{_place(named.kind, run)}; it goes on as soon as there is."
        )
        return unready(
            wait=Wait(WaitReason.RUNTIME_NOT_FOUND, f"{text} {_others(named, around.runtimes)}".strip())
        )
    try:
        runtime = _runtime(around.runtime)
        spec = _resolve(manifest, runtime, around)
        backend = _backend(manifest, runtime, spec, around)
        wait = unavailable(backend, around.served)
    except NotReadyError as error:
        return unready(wait=Wait(WaitReason.MODEL_NOT_READY, str(error)))
    except AsrtuneError as error:
        where = f"{error.where}: " if error.where else ""
        return unready(problem=f"{where}{error.message}", remedy=error.remedy)
    if wait is not None:
        return unready(wait=wait)
    asked, platform = manifest.spec, runtime.spec if runtime else RuntimeSpec()
    gate = asked.quality_gate
    return Run(
        identity=run.identity,
        generation=run.generation,
        created=run.created,
        spec=spec.model_copy(update={"decisions": []}),  # they are long, and only explain
        digest=around.digest or digest_of(manifest),
        edited=around.digest is not None,
        units=units_of(spec, asked.execution.pods, gate if isinstance(gate, QualityGate) else None),
        policy=asked.run_policy,
        resources=_resources(manifest),
        execution=asked.execution,
        backend=backend,
        runtime=platform,
        image=platform.image or around.image,
        volumes=tuple(asked.volumes),
        secret=storage_secret(asked.storage, runtime),
        queue=asked.queue_name or platform.queue_name,
        suspend=asked.suspend,
        gate=gate,
        retry=run.retry,
        kept=around.kept,
    )


def _resolve(manifest: Manifest, runtime: Runtime | None, around: Surroundings) -> RunSpec:
    if around.kept is not None:
        return parse_runspec(around.kept)
    if isinstance(manifest, ASRFinetune):
        return resolve(manifest, runtime, base=None, place=POD)
    finetunes = {name: _finetune(one) for name, one in around.finetunes.items()}
    return resolve_evaluation(manifest, runtime, finetunes, base=None, place=POD)


def _backend(manifest: Manifest, runtime: Runtime | None, spec: RunSpec, around: Surroundings) -> Backend:
    if isinstance(manifest, ASREvaluation):
        return Backend.JOB
    asked = manifest.spec.execution.backend or (runtime.spec.backend if runtime else Backend.AUTO)
    return choose(asked, spec.gang.nodes, around.served)


def _resources(manifest: Manifest) -> Resources:
    if isinstance(manifest, ASRFinetune):
        return manifest.spec.resources
    given = manifest.spec.resources
    return Resources(
        gpus_per_node=given.gpus, cpu=given.cpu, memory=given.memory, shared_memory=given.shared_memory
    )


def _runtime(found: RuntimeObject | None) -> Runtime | None:
    if found is None:
        return None
    model: type[Runtime] = ClusterASRRuntime if found.kind == "ClusterASRRuntime" else ASRRuntime
    try:
        return model.model_validate(found.manifest, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecInvalidError(
            _problems(error, model, found.manifest),
            where=f"{found.kind} {found.name}",
            remedy="Who runs the platform has to correct it; then apply this again.",
        ) from error


def _finetune(found: RunObject) -> ASRFinetune:
    name = found.identity.name
    document = {**found.manifest, "status": found.status} if found.status else found.manifest
    try:
        return ASRFinetune.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise NotReadyError(
            f"ASRFinetune {name} is wrong: {_problems(error, ASRFinetune, document)}"
        ) from error


def _problems(error: ValidationError, model: type[ApiModel], document: Any) -> str:
    found = [str(problem) for problem in problems_of(error, model, document)]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "; ".join([*found[:_SHOWN], *more]) + "."


def _place(kind: str, run: RunObject) -> str:
    return f" in namespace {run.identity.namespace}" if kind == "ASRRuntime" else ""


def _others(named: RuntimeRef, runtimes: Collection[str]) -> str:
    """What was probably meant."""
    if runtimes or named.kind != CLUSTER_RUNTIMES.kind:
        return did_you_mean(named.name, runtimes, what=f"{named.kind}s")
    return (
        f"The operator sees no {named.kind} at all; one that serves single namespaces never does: "
        "name an ASRRuntime there."
    )


def _unready(
    run: RunObject,
    *,
    manifest: Manifest | None = None,
    wait: Wait | None = None,
    problem: str = "",
    remedy: str = "",
) -> Unready:
    return Unready(
        identity=run.identity,
        generation=run.generation,
        created=run.created,
        suspend=manifest.spec.suspend if manifest else False,
        retry=run.retry,
        wait=wait,
        problem=problem,
        remedy=remedy,
        start_deadline_seconds=manifest.spec.run_policy.start_deadline_seconds if manifest else None,
    )
