"""The protocol of a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from asrtune_api.policy import Backend
from asrtune_operator.values.kinds import Manifest, Resource
from asrtune_operator.values.observed import WorkloadView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit


class GangBackend(Protocol):
    """Renders an attempt and reads what became of it. Pure: no API calls."""

    backend: Backend
    resource: Resource
    """The workload's kind: what is watched, deleted, and owns the pods."""

    def render(self, run: Run, unit: Unit, attempt: int) -> Sequence[Manifest]:
        """The objects of an attempt, the workload last; all owned by the run, none with a generated name."""
        ...

    def view(self, manifest: Mapping[str, Any]) -> WorkloadView:
        """A workload as the API server gives it."""
        ...
