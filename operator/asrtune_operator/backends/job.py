"""batch/v1 Job: what every cluster has. An Indexed Job is a gang; a headless Service makes its host names known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asrtune_api.errors import ExitCode
from asrtune_api.policy import Backend
from asrtune_operator.backends.conditions import end, workload_view
from asrtune_operator.render.manifests import config_map, service, workload_metadata
from asrtune_operator.render.pods import CONTAINER, pod_template
from asrtune_operator.values.kinds import Manifest, Resource
from asrtune_operator.values.observed import Outcome, WorkloadView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

INDEX_LABEL: Final = "batch.kubernetes.io/job-completion-index"

ENDS: Final = {
    "Complete": Outcome.SUCCEEDED,
    "Failed": Outcome.FAILED,
    "FailureTarget": Outcome.FAILED,
}
"""FailureTarget: nothing can save the Job any more, but some of its pods have not ended yet."""


class JobBackend:
    """Indexed Jobs."""

    backend = Backend.JOB
    resource = Resource("batch", "v1", "jobs", "Job")

    def render(self, run: Run, unit: Unit, attempt: int) -> Sequence[Manifest]:
        """As `GangBackend.render`."""
        gang = unit.nodes > 1
        template = pod_template(
            run,
            unit,
            attempt,
            rank_label=INDEX_LABEL,
            leader=f"{run.workload_name(unit, attempt)}-0.{run.spec_name}",
            subdomain=run.spec_name if gang else None,
        )
        job = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": workload_metadata(run, unit, attempt),
            "spec": {**job_spec(unit, template), "suspend": run.queue is not None},
        }
        return [config_map(run), *([service(run)] if gang else []), job]

    def view(self, manifest: Mapping[str, Any]) -> WorkloadView:
        """As `GangBackend.view`."""
        suspended = bool(manifest["spec"].get("suspend"))
        return workload_view(self.backend, manifest, end(manifest, ENDS), suspended=suspended)


def job_spec(unit: Unit, template: Mapping[str, Any]) -> Manifest:
    """A Job that fails as soon as one of its pods does, and then stops the others.

    The rules change nothing in that: by them the Failed condition says which pod ended with which code, or that it was
    disrupted, where else it would say no more than that the back-off limit was reached. The first that fits counts.

    There is none for saved-and-interrupted: when a Job is suspended, its pods end so, and the controller would take the
    rule's word for a failure if it looks before they are gone. Without a rule it knows that it stopped them itself.
    """
    codes = sorted(int(code) for code in ExitCode if code not in {ExitCode.DONE, ExitCode.INTERRUPTED})
    return {
        "completionMode": "Indexed",
        "completions": unit.nodes,
        "parallelism": unit.nodes,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": codes},
                },
            ]
        },
        "template": template,
    }
