"""Explains a run's wait: chooses the attempt, gathers the evidence, makes the sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from asrtune_operator.values.observed import PodView, Wait, WorkloadView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit
from asrtune_operator.waiting.evidence import EvidenceSource
from asrtune_operator.waiting.explain import explain
from asrtune_operator.waiting.facts import wanted_of
from asrtune_operator.waiting.room import for_ever
from asrtune_operator.waiting.wording import Wording


class Explainer:
    """Knows why runs wait."""

    def __init__(self, source: EvidenceSource) -> None:
        self._source = source
        self._wording = Wording()

    async def explain(
        self, run: Run, workloads: Sequence[WorkloadView], pods: Sequence[PodView]
    ) -> Wait | None:
        """Why the newest attempt of a run waits; None where it does not, or there is none."""
        living = [one for one in workloads if one.outcome is None and not one.deleting]
        workload = max(living, key=lambda one: (one.created, one.attempt), default=None)
        unit = next((one for one in run.units if workload is not None and one.key == workload.stage), None)
        if workload is None or unit is None:
            return None
        own = [pod for pod in pods if (pod.stage, pod.attempt) == (workload.stage, workload.attempt)]
        now, wanted = datetime.now(UTC), wanted_of(run, unit)
        if sum(pod.begun and not pod.deleting for pod in own) >= unit.nodes:
            return None
        evidence = await self._source.gather(wanted, workload, own, now)
        return self._wording.steady(workload.uid, explain(wanted, workload, own, evidence, now), now)

    async def foresee(self, run: Run, units: Sequence[Unit]) -> str:
        """Which pods of later stages no node would ever take, as the cluster is now; empty where there are none."""
        nodes = await self._source.nodes()
        for unit in units if nodes is not None else ():
            if (wait := for_ever(wanted_of(run, unit), nodes or ())) is not None:
                return f"As the cluster's nodes are now, {unit.key} will find no place: {wait.message}"
        return ""

    async def with_queues(self, run: Run, workloads: Sequence[WorkloadView]) -> Sequence[WorkloadView]:
        """The workloads with what Kueue says of those that are suspended; others it has admitted."""
        if run.queue is None:
            return workloads
        return [
            replace(one, queue=await self._source.kueue.view(one.uid))
            if one.suspended and one.outcome is None
            else one
            for one in workloads
        ]
