"""trainer.kubeflow.org TrainJob, of Kubeflow Trainer: a JobSet by way of a TrainingRuntime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from asrtune_api.policy import Backend
from asrtune_operator.backends.conditions import End, end, workload_view
from asrtune_operator.backends.jobset import JOB, jobset_spec
from asrtune_operator.render.manifests import config_map, metadata, run_labels, workload_metadata
from asrtune_operator.render.pods import ATTEMPT_VARIABLE
from asrtune_operator.values.kinds import Manifest, Resource
from asrtune_operator.values.names import ATTEMPT, MAX_LABEL, STAGE, shorten
from asrtune_operator.values.observed import Outcome, WorkloadView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

ENDS: Final = {"Complete": Outcome.SUCCEEDED, "Failed": Outcome.FAILED}
UNSUPPORTED: Final = "TrainingRuntimeNotSupported"
"""Reason of a Failed condition that is no end: the controller takes it back when it can do something."""
RUNTIME: Final = Resource("trainer.kubeflow.org", "v1alpha1", "trainingruntimes", "TrainingRuntime")


class TrainJobBackend:
    """TrainJobs, each with a TrainingRuntime of ours that holds the whole pod.

    A TrainJob alone can say neither the pods' security context nor their grace period, ports, priority or termination
    message: podTemplateOverrides reaches labels, annotations, placement, volumes and pull secrets only. The runtime has
    no mlPolicy: Trainer's torch plugin would add PET_ variables, which torchrun takes for options.
    """

    backend = Backend.TRAIN_JOB
    resource = Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob")

    def render(self, run: Run, unit: Unit, attempt: int) -> Sequence[Manifest]:
        """As `GangBackend.render`."""
        runtime = _runtime(run, unit, attempt)
        override = {
            "targetJobs": [{"name": JOB}],
            "metadata": {"labels": {ATTEMPT: str(attempt)}},
        }
        job = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": workload_metadata(run, unit, attempt),
            "spec": {
                "runtimeRef": {
                    "apiGroup": RUNTIME.group,
                    "kind": RUNTIME.kind,
                    "name": runtime["metadata"]["name"],
                },
                "podTemplateOverrides": [override],
                "suspend": run.queue is not None,
            },
        }
        return [config_map(run), runtime, job]

    def view(self, manifest: Mapping[str, Any]) -> WorkloadView:
        """As `GangBackend.view`. A failed one is told only when all its pods have ended."""
        ended = end(manifest, ENDS)
        problem = ""
        if ended.reason == UNSUPPORTED:
            ended, problem = End(), ended.message
        suspended = bool(manifest["spec"].get("suspend"))
        return workload_view(self.backend, manifest, ended, suspended=suspended, problem=problem)


def _runtime(run: Run, unit: Unit, attempt: int) -> Manifest:
    """The TrainingRuntime of all attempts at a unit, named by what it says.

    It must be there before its TrainJobs, so they cannot own it; one for each attempt would pile up until the run is
    deleted. One that changed would reach Trainer's cache after the TrainJob that means it.
    """
    name = run.workload_name(unit, attempt).removesuffix(str(attempt)) + ATTEMPT_VARIABLE
    spec = jobset_spec(run, unit, attempt, name=name)
    del spec["replicatedJobs"][0]["template"]["spec"]["template"]["metadata"]["labels"][ATTEMPT]
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:10]
    own = {**run_labels(run), STAGE: unit.key}
    return {
        "apiVersion": RUNTIME.api_version,
        "kind": RUNTIME.kind,
        "metadata": metadata(
            run, f"{shorten(f'{run.identity.name}-{unit.key}', MAX_LABEL - 11)}-{digest}", own
        ),
        "spec": {"template": {"spec": spec}},
    }
