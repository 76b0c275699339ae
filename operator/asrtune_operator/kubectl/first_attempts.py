"""The objects that the operator makes for the first attempt at each unit of a run. Pure; asks no cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from asrtune_api.policy import Backend, PodSharing
from asrtune_api.suggest import did_you_mean
from asrtune_operator.backends.registry import BACKENDS, requirements
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.manifests_on_disk import Files
from asrtune_operator.state.objects import RunObject, RuntimeObject
from asrtune_operator.understand.intake import Surroundings, parse, understand
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, Manifest, Resource
from asrtune_operator.values.run import Run, Unready
from asrtune_operator.values.units import Unit

_FIRST: Final = 1


class NotYetError(PluginError):
    """What the run names is not there yet: in a cluster it would wait."""


@dataclass(frozen=True, slots=True)
class FirstAttempt:
    """The first attempt at a unit.

    Attributes:
        unit: the unit.
        backend: what runs its pods.
        why: why it has so many pods and GPUs, and this backend; for people.
        manifests: its objects.
    """

    unit: Unit
    backend: Backend
    why: str
    manifests: Sequence[Manifest]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A run, decided."""

    run: Run
    runtime: RuntimeObject | None
    attempts: Sequence[FirstAttempt]

    def manifests(self) -> Sequence[Manifest]:
        """Every object once: units share the RunSpec's ConfigMap."""
        known = {
            (one["kind"], one["metadata"]["name"]): one
            for attempt in self.attempts
            for one in attempt.manifests
        }
        return list(known.values())


def first_attempts(run: RunObject, files: Files, *, image: str, stage: str | None = None) -> Rendered:
    """Decide a run as the operator would in a cluster that has every backend.

    Args:
        run: the run.
        files: where the runtime and the finetunes that it names are looked for.
        image: where the runtime names none.
        stage: only the unit that runs this stage.

    Raises:
        NotYetError: it waits for another run.
        PluginError: its manifest is wrong, what it names stands in no file, or there is no such stage.
    """
    where = f"{run.identity.kind} {run.identity.name}"
    manifest = parse(run)
    if isinstance(manifest, Unready):
        raise PluginError(manifest.problem, where=where)
    named = manifest.spec.runtime_ref
    kind, name = (named.kind, named.name) if named else (CLUSTER_RUNTIMES.kind, "default")
    runtime = files.runtime(kind, name)
    if named is not None and runtime is None:
        remedy = "Give the file that it stands in: --runtime FILE."
        raise PluginError(f"{kind} {name} stands in no file.", where=where, remedy=remedy)
    around = Surroundings(runtime=runtime, finetunes=files.finetunes(), served=_everything(), image=image)
    made = understand(run, manifest, around)
    if isinstance(made, Unready):
        if made.wait is not None:
            raise NotYetError(made.wait.message, where=where, remedy=made.remedy)
        raise PluginError(made.problem, where=where, remedy=made.remedy)
    return Rendered(made, runtime, [_attempt(made, unit, runtime) for unit in _units(made, stage, where)])


def _everything() -> frozenset[Resource]:
    return frozenset(one for backend in BACKENDS for one in requirements(backend))


def _units(run: Run, stage: str | None, where: str) -> Sequence[Unit]:
    chosen = [unit for unit in run.units if stage is None or stage in unit.stages]
    if not chosen:
        names = [name for unit in run.units for name in unit.stages]
        remedy = did_you_mean(str(stage), names, what="stages")
        raise PluginError(f'there is no stage "{stage}".', where=where, remedy=remedy)
    return chosen


def _attempt(run: Run, unit: Unit, runtime: RuntimeObject | None) -> FirstAttempt:
    backend = run.backend_of(unit)
    return FirstAttempt(
        unit=unit,
        backend=backend,
        why="; ".join(_why(run, unit, runtime)),
        manifests=BACKENDS[backend].render(run, unit, _FIRST),
    )


def _why(run: Run, unit: Unit, runtime: RuntimeObject | None) -> Iterator[str]:
    if run.execution.pods is PodSharing.SHARED and len(unit.stages) > 1:
        yield "execution.pods is Shared"
    if not unit.trains:
        yield "an Evaluate decodes on one GPU" if unit.gpus else "needs no GPU"
        yield "what trains nothing is a Job"
        return
    yield "resources.nodes pods of resources.gpusPerNode GPUs"
    if run.execution.backend not in {None, Backend.AUTO}:
        yield f"execution.backend is {run.backend}"
    elif run.execution.backend is None and runtime is not None and run.runtime.backend is not Backend.AUTO:
        yield f"{runtime.kind} {runtime.name} says {run.backend}"
    elif unit.nodes == 1:
        yield "Auto takes a Job for one node"
    else:
        yield f"Auto takes {run.backend} for several nodes where the cluster has it (--backend shows another)"
