"""What the operator makes of children as real controllers left them.

recorded_children.json holds pods and workloads that the controllers of tests/operator made, without the parts of their
specs that are not read: of each backend the pod of rank 1, ended with 65, and its workload; and other pods.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from asrtune_api.policy import Backend
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.follow.observe import pod_view
from asrtune_operator.values.observed import Outcome

RECORDED = json.loads(Path(__file__).with_name("recorded_children.json").read_text())
PODS = [name for name in RECORDED if not name.endswith("workload")]


def changed(name: str, path: str, value: Any) -> dict[str, Any]:
    """A recorded child with another value: a dotted path, with | for a dot in a key."""
    child: dict[str, Any] = copy.deepcopy(RECORDED[name])
    *parents, last = (part.replace("|", ".") for part in path.split("."))
    here: Any = child
    for part in parents:
        here = here.setdefault(part, {})
    here[last] = value
    return child


@pytest.mark.parametrize("name", PODS)
def test_pod(name: str, snapshot: SnapshotAssertion) -> None:
    assert asdict(pod_view(RECORDED[name])) == snapshot


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.value)
def test_workload(backend: Backend, snapshot: SnapshotAssertion) -> None:
    assert asdict(BACKENDS[backend].view(RECORDED[f"{backend.value} workload"])) == snapshot


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.value)
def test_rank_is_known_whatever_made_the_pod(backend: Backend) -> None:
    assert pod_view(RECORDED[backend.value]).rank == 1


@pytest.mark.parametrize("label", ["asrtune|dev/attempt", "batch|kubernetes|io/job-completion-index"])
@pytest.mark.parametrize("value", ["", "-1", "two", "²", "1e3"])
def test_labels_that_somebody_spoilt(label: str, value: str) -> None:
    view = pod_view(changed("Job", f"metadata.labels.{label}", value))
    assert (view.attempt, view.rank) in {(0, 1), (1, None)}


def test_pod_without_anything() -> None:
    view = pod_view(
        {"metadata": {"name": "p", "uid": "u", "creationTimestamp": "2025-01-01T00:00:00Z"}, "spec": {}}
    )
    assert (view.stage, view.attempt, view.rank, view.phase, view.gpus) == ("", 0, None, "Pending", 0)


def test_container_of_a_service_mesh_is_not_ours() -> None:
    ours = RECORDED["Job"]["status"]["containerStatuses"]
    other = {"name": "istio-proxy", "state": {"running": {"startedAt": "2025-01-01T00:00:00Z"}}}
    view = pod_view(changed("Job", "status.containerStatuses", [other, *ours]))
    assert view.container.exit_code == 65


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, "ErrImagePull: no such image"),
        ({"waiting": {"reason": "PodInitializing"}}, "PodInitializing"),
        ({"terminated": {"exitCode": 1, "reason": "Error"}}, "Error"),
        ({"terminated": {"exitCode": 0, "reason": "Completed"}}, ""),
        ({"running": {}}, ""),
    ],
)
def test_init_container(state: dict[str, Any], shown: str) -> None:
    statuses = [{"name": "init-pytorch", "state": state}]
    assert pod_view(changed("Job", "status.initContainerStatuses", statuses)).init_waiting == shown


def test_job_is_lost_before_its_pods_have_ended() -> None:
    target = {"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy", "message": "rank 1"}
    view = BACKENDS[Backend.JOB].view(changed("Job workload", "status.conditions", [target]))
    assert (view.outcome, view.reason, view.message) == (Outcome.FAILED, "PodFailurePolicy", "rank 1")


def test_condition_that_is_no_more_is_no_end() -> None:
    gone = {"type": "Failed", "status": "False", "reason": "Retried", "message": ""}
    assert BACKENDS[Backend.JOB].view(changed("Job workload", "status.conditions", [gone])).outcome is None


def test_trainjob_without_a_runtime_it_understands_has_a_problem_and_no_end() -> None:
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "TrainingRuntimeNotSupported",
        "message": "unsupported runtime: TrainingRuntime.trainer.kubeflow.org",
    }
    view = BACKENDS[Backend.TRAIN_JOB].view(changed("TrainJob workload", "status.conditions", [condition]))
    assert (view.outcome, view.problem) == (None, condition["message"])
