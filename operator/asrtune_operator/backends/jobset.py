"""jobset.x-k8s.io JobSet: one Indexed Job, whose host names JobSet itself makes known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asrtune_api.policy import Backend
from asrtune_operator.backends.conditions import end, workload_view
from asrtune_operator.backends.job import INDEX_LABEL, job_spec
from asrtune_operator.render.manifests import config_map, workload_metadata
from asrtune_operator.render.pods import pod_template
from asrtune_operator.values.kinds import Manifest, Resource
from asrtune_operator.values.observed import Outcome, WorkloadView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

JOB: Final = "node"
"""Name of the one replicated Job."""
ENDS: Final = {"Completed": Outcome.SUCCEEDED, "Failed": Outcome.FAILED}


class JobSetBackend:
    """JobSets."""

    backend = Backend.JOB_SET
    resource = Resource("jobset.x-k8s.io", "v1alpha2", "jobsets", "JobSet")

    def render(self, run: Run, unit: Unit, attempt: int) -> Sequence[Manifest]:
        """As `GangBackend.render`."""
        jobset = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": workload_metadata(run, unit, attempt),
            "spec": {
                **jobset_spec(run, unit, attempt, name=run.workload_name(unit, attempt)),
                "suspend": run.queue is not None,
            },
        }
        return [config_map(run), jobset]

    def view(self, manifest: Mapping[str, Any]) -> WorkloadView:
        """As `GangBackend.view`. A failed one is told only when all its pods have ended."""
        suspended = bool(manifest["spec"].get("suspend"))
        return workload_view(self.backend, manifest, end(manifest, ENDS), suspended=suspended)


def jobset_spec(run: Run, unit: Unit, attempt: int, *, name: str) -> Manifest:
    """A JobSet that is never restarted in place: the next attempt is a new one, with a number of its own.

    That is what it does without a failurePolicy. One with maxRestarts 0 loses the 0 when Trainer writes its copy, which
    the API server then refuses.

    Args:
        run: the run.
        unit: the unit.
        attempt: its number.
        name: the JobSet's, or an expression of the container's variables that becomes it.
    """
    template = pod_template(run, unit, attempt, rank_label=INDEX_LABEL, leader=f"{name}-{JOB}-0-0.{name}")
    job = {"name": JOB, "replicas": 1, "template": {"spec": job_spec(unit, template)}}
    return {
        "network": {"enableDNSHostnames": unit.nodes > 1, "publishNotReadyAddresses": True},
        "replicatedJobs": [job],
    }
