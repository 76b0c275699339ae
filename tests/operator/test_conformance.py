"""Four backends behind one protocol: the same manifest comes to the same end, whatever runs the gang.

The operator is a process with the rights that we ship; the API server, training-operator, Trainer and JobSet are real.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from asrtune_api.policy import Backend
from asrtune_api.termination import EndClass, TerminationMessage
from asrtune_operator.backends.registry import BACKENDS
from cluster.cluster import Cluster, run_cluster
from cluster.kwok import GPU
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools.attempts import CONTROLLERS, RESTRICTED
from tools.operated import BRIEF, PATIENCE, End, Runs

LONG = {"fake/train-1.run-for": "1h", "fake/linger": "300ms"}
"""The first gang runs until somebody ends it, and takes a moment to save."""
NO_DATA = TerminationMessage(
    end_class=EndClass.DATA_INVALID, message="train.jsonl has no line.", remedy="Give it some."
)
PREPARED = ("prepare", "Succeeded", 1, 0, 0)
ONCE = ("prepare", 1, "Succeeded")
EXPECTED: Mapping[str, End] = {
    "success": End(
        *("Succeeded", "Succeeded"),
        (PREPARED, ("train", "Succeeded", 1, 0, 0)),
        (ONCE, ("train", 1, "Succeeded")),
    ),
    "wrong data": End(
        *("Failed", "DataInvalid"),
        (PREPARED, ("train", "Failed", 1, 0, 0)),
        (ONCE, ("train", 1, "DataInvalid")),
    ),
    "crash loop": End(
        *("Failed", "InternalError"),
        (PREPARED, ("train", "Failed", 3, 2, 0)),
        (ONCE, *(("train", number, "InternalError") for number in (1, 2, 3))),
    ),
    "preemption": End(
        *("Succeeded", "Succeeded"),
        (PREPARED, ("train", "Succeeded", 2, 0, 1)),
        (ONCE, ("train", 1, "Preempted"), ("train", 2, "Succeeded")),
    ),
    "deadline": End(
        *("Failed", "DeadlineExceeded"),
        (PREPARED, ("train", "Failed", 1, 0, 0)),
        (ONCE, ("train", 1, "DeadlineExceeded")),
    ),
    "suspended": End(
        *("Suspended", ""), (PREPARED, ("train", "Interrupted", 1, 0, 0)), (ONCE, ("train", 1, "Suspended"))
    ),
    "resumed": End(
        *("Succeeded", "Succeeded"),
        (PREPARED, ("train", "Succeeded", 2, 0, 0)),
        (ONCE, ("train", 1, "Suspended"), ("train", 2, "Succeeded")),
    ),
}
"""What a run comes to, on every backend."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One whose nodes the gangs of all four backends fill."""
    with run_cluster(tmp_path_factory.mktemp("conformance"), nodes=2 * len(BACKENDS)) as cluster:
        cluster.controllers.start(*(one for needed in CONTROLLERS.values() for one in needed))
        yield cluster


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Operator:
    found = Operator(cluster, options=["--lease-seconds", "15", "--discovery-seconds", "2"])
    found.start()
    return found


@pytest.fixture
def runs(cluster: Cluster, operator: Operator) -> Iterator[Runs]:
    """A namespace that enforces the level `restricted`; its runs are deleted after the test."""
    made = Runs(cluster, cluster.new_namespace(labels=RESTRICTED))
    yield made
    for run in cluster.api.list("asrfinetunes", made.namespace):
        cluster.api.delete("asrfinetunes", run["metadata"]["name"], made.namespace)
    wait_for(
        lambda: not cluster.api.list("pods", made.namespace), timeout=PATIENCE, what="the end of the pods"
    )


def name_of(backend: Backend) -> str:
    return backend.lower()


def start_all(runs: Runs, annotations: Mapping[str, str], changes: Mapping[str, Any] | None = None) -> None:
    """The same gang of two nodes on each backend."""
    runs.describe_pods(BRIEF | dict(annotations))
    for backend in BACKENDS:
        own = {"execution": {"backend": backend.value}, "resources": {"nodes": 2, "gpusPerNode": 1}}
        runs.start(name_of(backend), own | dict(changes or {}))


def check_ends(runs: Runs, scenario: str) -> None:
    """All came to the expected end, by the backend they asked for."""
    phases = (EXPECTED[scenario].phase,)
    ends = {
        backend: runs.wait_end(name_of(backend), ("Failed", "Succeeded", *phases)) for backend in BACKENDS
    }
    assert ends == dict.fromkeys(BACKENDS, EXPECTED[scenario])
    for backend in BACKENDS:
        by = {
            one["backend"]
            for one in runs.get(name_of(backend))["status"]["attempts"]
            if one["stage"] == "train"
        }
        assert by == {backend.value}


def test_success(runs: Runs) -> None:
    start_all(runs, {})
    check_ends(runs, "success")
    for backend in BACKENDS:
        said = runs.events(name_of(backend))
        assert len(said) == len(set(said))


def test_wrong_data(runs: Runs) -> None:
    start_all(runs, {"fake/train.exit-code": "65", "fake/train.message": NO_DATA.encode().decode()})
    check_ends(runs, "wrong data")
    for backend in BACKENDS:
        (failed,) = (
            one for one in runs.get(name_of(backend))["status"]["conditions"] if one["type"] == "Failed"
        )
        assert failed["message"] == "train.jsonl has no line. Give it some."


def test_crash_loop(runs: Runs) -> None:
    policy = {"runPolicy": {"maxRetries": 2, "backoffSeconds": 1}}
    start_all(runs, {"fake/train.exit-code": "70", "fake/train.message": "Traceback: boom"}, policy)
    check_ends(runs, "crash loop")


def test_preemption(cluster: Cluster, runs: Runs) -> None:
    """The scheduler takes one node of each gang for a pod of higher priority, and gives it back."""
    urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}}
    cluster.api.apply(urgent | {"value": 1000})
    start_all(runs, LONG, {"resources": {"nodes": 2, "gpusPerNode": 8}})
    for backend in BACKENDS:
        pods = runs.wait_running(name_of(backend))
        assert len(pods) == 2
        cluster.api.create(thief(runs.namespace, name_of(backend), pods[1]["spec"]["nodeName"]))
    for backend in BACKENDS:
        thieves = f"thief-{name_of(backend)}"
        cluster.api.wait(
            "pods", thieves, lambda pod: pod["status"]["phase"] == "Running", runs.namespace, timeout=PATIENCE
        )
        cluster.api.delete("pods", thieves, runs.namespace)
    check_ends(runs, "preemption")


def thief(namespace: str, name: str, node: str) -> dict[str, Any]:
    """A pod that wants all GPUs of a node."""
    amounts = {GPU: "8", "cpu": "1"}
    safe = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": "other",
        "resources": {"limits": amounts, "requests": amounts},
        "securityContext": safe,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"thief-{name}", "namespace": namespace},
        "spec": {
            "priorityClassName": "urgent",
            "containers": [container],
            "nodeSelector": {"kubernetes.io/hostname": node},
        },
    }


def test_deadline(runs: Runs) -> None:
    start_all(runs, LONG, {"runPolicy": {"deadlineSeconds": 20}})
    check_ends(runs, "deadline")
    wait_for(
        lambda: not any(runs.pods(name_of(backend)) for backend in BACKENDS),
        timeout=PATIENCE,
        what="the end of the gangs",
    )


def test_suspend_and_resume(runs: Runs) -> None:
    start_all(runs, LONG)
    for backend in BACKENDS:
        runs.wait_running(name_of(backend))
        runs.change(name_of(backend), {"suspend": True})
    check_ends(runs, "suspended")
    for backend in BACKENDS:
        assert runs.pods(name_of(backend)) == []
        runs.change(name_of(backend), {"suspend": False})
    check_ends(runs, "resumed")


def test_deletion_in_the_middle_leaves_nothing(cluster: Cluster, runs: Runs) -> None:
    start_all(runs, LONG)
    for backend in BACKENDS:
        runs.wait_running(name_of(backend))
        cluster.api.delete("asrfinetunes", name_of(backend), runs.namespace)
    for backend in BACKENDS:
        runs.wait_nothing_left(name_of(backend))


def test_after_its_time_to_live_only_the_run_is_left(
    cluster: Cluster, operator: Operator, runs: Runs
) -> None:
    start_all(runs, {}, {"runPolicy": {"ttlSecondsAfterFinished": 2}})
    check_ends(runs, "success")
    workloads = ("jobs", "jobsets", "pytorchjobs", "trainjobs", "pods")

    def left() -> list[str]:
        return [
            one
            for backend in BACKENDS
            for one in runs.children(name_of(backend))
            if one.startswith(workloads)
        ]

    wait_for(lambda: not left(), timeout=PATIENCE, what="the end of the workloads", state=left)
    before = {backend: runs.get(name_of(backend))["status"] for backend in BACKENDS}
    cluster.processes[operator.name].kill()
    operator.start()  # it must not take them for new ones
    runs.start("another", {"execution": {"backend": "Job"}})
    runs.wait_end("another")
    assert left() == []
    assert {backend: runs.get(name_of(backend))["status"] for backend in BACKENDS} == before
