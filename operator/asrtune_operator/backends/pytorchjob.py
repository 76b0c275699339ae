"""kubeflow.org PyTorchJob, of Kubeflow's training-operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asrtune_api.policy import Backend
from asrtune_operator.backends.conditions import end, workload_view
from asrtune_operator.render.manifests import config_map, workload_metadata
from asrtune_operator.render.pods import pod_template
from asrtune_operator.values.kinds import Manifest, Resource
from asrtune_operator.values.observed import Outcome, WorkloadView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

INDEX_LABEL: Final = "training.kubeflow.org/replica-index"
ENDS: Final = {"Succeeded": Outcome.SUCCEEDED, "Failed": Outcome.FAILED}


class PyTorchJobBackend:
    """PyTorchJobs of workers alone.

    With workers alone, all of them must succeed, and none gets a container of the controller's. With a Master its
    success ends the job while others still work, and the workers get an init container (to wait for its name) that is
    pulled from a registry of its own and that a namespace of Pod Security level `restricted` refuses.
    """

    backend = Backend.PYTORCH_JOB
    resource = Resource("kubeflow.org", "v1", "pytorchjobs", "PyTorchJob")

    def render(self, run: Run, unit: Unit, attempt: int) -> Sequence[Manifest]:
        """As `GangBackend.render`."""
        leader = f"{run.workload_name(unit, attempt)}-worker-0"
        template = pod_template(run, unit, attempt, rank_label=INDEX_LABEL, leader=leader)
        # The replica's restart policy is what counts, and the controller warns of another in the template.
        del template["spec"]["restartPolicy"]
        worker = {"replicas": unit.nodes, "restartPolicy": "Never", "template": template}
        job = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": workload_metadata(run, unit, attempt),
            "spec": {"runPolicy": _run_policy(run), "pytorchReplicaSpecs": {"Worker": worker}},
        }
        return [config_map(run), job]

    def view(self, manifest: Mapping[str, Any]) -> WorkloadView:
        """As `GangBackend.view`."""
        suspended = bool(manifest["spec"].get("runPolicy", {}).get("suspend"))
        return workload_view(self.backend, manifest, end(manifest, ENDS), suspended=suspended)


def _run_policy(run: Run) -> Manifest:
    """When one worker fails, the others are stopped, as a Job does; what has ended stays, to be read.

    No backoffLimit: a worker is never restarted in place anyway, but past a limit the controller deletes the failed
    pod, too, and with it the only word of what was wrong.
    """
    return {"cleanPodPolicy": "Running", "suspend": run.queue is not None}
