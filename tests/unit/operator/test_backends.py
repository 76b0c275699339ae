"""What each backend renders: golden files, and what holds for all."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from asrtune_api.policy import Backend
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.values.kinds import Manifest
from asrtune_operator.values.names import ATTEMPT, KIND, MANAGED_BY, QUEUE_NAME, RUN, RUN_SPEC, RUN_UID, STAGE
from asrtune_operator.values.run import Run
from tools.gangs import UID, gang_run, unit_of

TWO_NODES = {"resources": {"nodes": 2, "gpusPerNode": 8}}
all_backends = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.value)
every_size = pytest.mark.parametrize("nodes", [1, 2])


def rendered(run: Run, stage: str = "train", attempt: int = 2) -> Sequence[Manifest]:
    return BACKENDS[run.backend].render(run, unit_of(run, stage), attempt)


def templates(node: Any) -> list[dict[str, Any]]:
    """The pod templates anywhere in a manifest: what has containers."""
    if isinstance(node, list):
        return [found for item in node for found in templates(item)]
    if not isinstance(node, dict):
        return []
    if "containers" in node.get("spec", {}):
        return [node]
    return [found for value in node.values() for found in templates(value)]


def pod(manifests: Sequence[Manifest]) -> dict[str, Any]:
    (only,) = templates(list(manifests))
    return only


@all_backends
@every_size
def test_golden(backend: Backend, nodes: int, snapshot: SnapshotAssertion) -> None:
    """Without the pod template's spec, which has golden files of its own, and the RunSpec."""
    run = gang_run({"resources": {"nodes": nodes, "gpusPerNode": 8}}, backend=backend, queue="gpus")
    manifests = copy.deepcopy(list(rendered(run)))
    template = pod(manifests)
    template["spec"] = {"containers": f"{len(template['spec']['containers'])} container"}
    manifests[0]["data"] = dict.fromkeys(manifests[0]["data"], "the RunSpec")
    for manifest in manifests:
        if (
            manifest["kind"] == "TrainingRuntime"
        ):  # named by its content, which the RunSpec's name is a part of
            name = manifest["metadata"]["name"]
            manifests = yaml.safe_load(yaml.safe_dump(manifests).replace(name, "demo-train-DIGEST"))
    assert yaml.safe_dump_all(manifests).replace(run.spec_name, "RUN-SPEC") == snapshot


@all_backends
@every_size
def test_everything_is_the_runs_and_says_so(backend: Backend, nodes: int) -> None:
    run = gang_run({"resources": {"nodes": nodes}}, backend=backend)
    manifests = rendered(run)
    for manifest in manifests:
        metadata = manifest["metadata"]
        assert metadata["namespace"] == "speech"
        assert metadata["ownerReferences"] == [
            {
                "apiVersion": "asrtune.dev/v1alpha1",
                "kind": "ASRFinetune",
                "name": "demo",
                "uid": UID,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
        assert {MANAGED_BY, KIND, RUN, RUN_UID, RUN_SPEC} <= set(metadata["labels"])
    workload = manifests[-1]
    assert workload["kind"] == BACKENDS[backend].resource.kind
    assert workload["metadata"]["labels"] | {STAGE: "train", ATTEMPT: "2"} == workload["metadata"]["labels"]
    assert QUEUE_NAME not in workload["metadata"]["labels"]


@all_backends
def test_same_again(backend: Backend) -> None:
    """A second apply of the same attempt changes nothing."""
    run = gang_run(TWO_NODES, backend=backend)
    assert rendered(run) == rendered(run)


@all_backends
def test_attempts_share_all_but_their_workload(backend: Backend) -> None:
    """A run that is preempted a hundred times leaves no hundred Services or TrainingRuntimes."""
    run = gang_run(TWO_NODES, backend=backend)
    first, second = rendered(run, attempt=1), rendered(run, attempt=2)
    assert first[:-1] == second[:-1]
    assert first[-1]["metadata"]["name"] != second[-1]["metadata"]["name"]


def test_a_training_runtime_that_would_change_is_another() -> None:
    """Trainer reads its cache: one that changed in place could start a gang as it was before."""
    names = {
        rendered(gang_run(TWO_NODES, backend=Backend.TRAIN_JOB, runtime=runtime))[1]["metadata"]["name"]
        for runtime in ({}, {"pod": {"nodeSelector": {"gpu": "h200"}}}, {"nccl": {"debug": "Info"}})
    }
    assert len(names) == 3


@all_backends
def test_pods_are_the_same_whatever_makes_them(backend: Backend) -> None:
    """But for how they learn their rank and where the leader is."""
    expected = pod(rendered(gang_run(TWO_NODES)))["spec"]
    found = pod(rendered(gang_run(TWO_NODES, backend=backend)))["spec"]
    for spec in (expected, found):
        (container,) = spec["containers"]
        container["args"] = [arg for arg in container["args"] if not arg.startswith("--rendezvous=")]
        container["env"] = [one for one in container["env"] if one["name"] != "ASRTUNE_RANK"]
        spec.pop("subdomain", None)
        spec.pop("restartPolicy", None)  # training-operator's stands beside the template
    assert found == expected


@all_backends
def test_one_node_meets_nobody(backend: Backend) -> None:
    manifests = rendered(gang_run({"resources": {"gpusPerNode": 8}}, backend=backend))
    (container,) = pod(manifests)["spec"]["containers"]
    assert not [arg for arg in container["args"] if "rank" in arg or "rendezvous" in arg]
    assert "Service" not in {manifest["kind"] for manifest in manifests}


@pytest.mark.parametrize("name", ["8k", "telephone.v2", "x" * 63, "a" * 200])
@all_backends
def test_names_that_every_controller_takes(backend: Backend, name: str) -> None:
    """Services, JobSets and PyTorchJobs have names of RFC 1035; a pod's host name ends in up to 18 characters."""
    for manifest in rendered(gang_run(TWO_NODES, backend=backend, name=name), attempt=1000):
        own = manifest["metadata"]["name"]
        assert own[0].isalpha()
        assert own == own.lower()
        assert "." not in own
        assert len(own) <= 63
    assert len(own) <= 45
