"""A chain cut into units: what one set of pods runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asrtune_api.gate import GateAction, QualityGate
from asrtune_api.policy import PodSharing
from asrtune_api.runspec import RunSpec
from asrtune_api.stages import StageSpec, StageType


@dataclass(frozen=True, slots=True)
class Unit:
    """Stages that one set of pods runs, one after the other."""

    stages: tuple[str, ...]
    nodes: int
    gpus: int
    """GPUs a pod."""
    trains: bool
    """Whether it is the training gang, and gets what the manifest's resources say; else it is one pod."""
    publishes: bool

    @property
    def key(self) -> str:
        """Name of the first stage: what its workloads are labelled with."""
        return self.stages[0]


def units_of(run: RunSpec, sharing: PodSharing, gate: QualityGate | None) -> tuple[Unit, ...]:
    """Cut the chain from startAt to stopAfter into units.

    PerStage: one for each stage; a gang for Train, one GPU for Evaluate (if training has any), none for the others.
    Shared: one for all, but a Publish that a gate may hold back has pods of its own.
    """
    stages = _asked_for(run)
    if sharing is PodSharing.PER_STAGE:
        return tuple(_unit(run, (stage,)) for stage in stages)
    held = gate is not None and gate.on_failure is GateAction.HOLD_PUBLISH
    cut = next((i for i, one in enumerate(stages) if one.type is StageType.PUBLISH and held), len(stages))
    return tuple(_unit(run, part) for part in (stages[:cut], stages[cut:]) if part)


def _asked_for(run: RunSpec) -> Sequence[StageSpec]:
    names = [stage.name for stage in run.stages]
    first = names.index(run.start_at) if run.start_at else 0
    last = names.index(run.stop_after) if run.stop_after else len(names) - 1
    return run.stages[first : last + 1]


def _unit(run: RunSpec, stages: Sequence[StageSpec]) -> Unit:
    types = {stage.type for stage in stages}
    trains = StageType.TRAIN in types
    most = run.gang.gpus_per_node if trains else int(StageType.EVALUATE in types)
    return Unit(
        stages=tuple(stage.name for stage in stages),
        nodes=run.gang.nodes if trains else 1,
        gpus=min(most, run.gang.gpus_per_node),
        trains=trains,
        publishes=StageType.PUBLISH in types,
    )
