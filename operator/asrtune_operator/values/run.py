"""One custom resource, understood: what `plan` and the backends work with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from asrtune_api.finetune import Resources
from asrtune_api.gate import Gate
from asrtune_api.policy import Backend, Execution, RunPolicy, VolumeClaim
from asrtune_api.runspec import RunSpec
from asrtune_api.runtime import RuntimeSpec
from asrtune_operator.values.names import run_spec_name, workload_name
from asrtune_operator.values.observed import Wait
from asrtune_operator.values.units import Unit

RunKind = Literal["ASRFinetune", "ASREvaluation"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which custom resource."""

    kind: RunKind
    namespace: str
    name: str
    uid: str

    @property
    def evaluation(self) -> bool:
        return self.kind == "ASREvaluation"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run whose every value is decided."""

    identity: Identity
    generation: int
    created: datetime
    spec: RunSpec
    digest: str
    """Of the part of the manifest that decides what is run: all but suspend and runPolicy. As long as it is the same,
    a run keeps the RunSpec of its ConfigMap, even if an upgrade or a runtime would now decide otherwise."""
    units: tuple[Unit, ...]
    policy: RunPolicy
    resources: Resources
    """CPU and memory of the gang's pods."""
    execution: Execution
    backend: Backend
    """Of gangs: never Auto. Units of one pod that train nothing are Jobs."""
    runtime: RuntimeSpec
    """The platform team's half; an empty one where there is none."""
    image: str
    volumes: tuple[VolumeClaim, ...] = ()
    secret: str | None = None
    """Secret with the storage credentials, in the run's namespace."""
    queue: str | None = None
    suspend: bool = False
    gate: Gate | None = None
    retry: str | None = None
    """Value of the annotation asrtune.dev/retry."""
    kept: str | None = None
    """The RunSpec as the run's ConfigMap holds it already; None where it was resolved just now."""
    edited: bool = False
    """The manifest was changed since, but pods run for what it was: they go on, and the change takes effect once they
    have ended (suspend and resume). An edit never throws GPU hours away by itself."""

    @cached_property
    def document(self) -> str:
        """The RunSpec as its ConfigMap holds it. What only explains (decisions) is left out."""
        return self.kept or self.spec.model_dump_json(exclude={"decisions"}, exclude_none=True)

    @cached_property
    def spec_name(self) -> str:
        """Name of that ConfigMap: another one for another RunSpec."""
        digest = hashlib.sha256(self.document.encode()).hexdigest()
        return run_spec_name(self.identity.name, digest, evaluation=self.identity.evaluation)

    def backend_of(self, unit: Unit) -> Backend:
        """What runs a unit."""
        return self.backend if unit.trains else Backend.JOB

    def workload_name(self, unit: Unit, attempt: int) -> str:
        return workload_name(self.identity.name, unit.key, attempt, evaluation=self.identity.evaluation)


@dataclass(frozen=True, kw_only=True)
class Unready:
    """A run that cannot be planned: its spec is wrong, or something that it names is not there yet.

    Attributes:
        wait: what it waits for; None when the spec is wrong.
        problem: what is wrong with the spec, for people; empty when it waits.
    """

    identity: Identity
    generation: int
    created: datetime
    suspend: bool = False
    retry: str | None = None
    wait: Wait | None = None
    problem: str = ""
    remedy: str = ""
    start_deadline_seconds: int | None = None
    stages: tuple[str, ...] = field(default=())
