"""Under Kueue, too: the same manifest comes to the same end on every backend, when quota is given and taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asrtune_operator.backends.registry import BACKENDS
from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.kwok import GPU
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools.attempts import CONTROLLERS, RESTRICTED
from tools.operated import BRIEF, PATIENCE, End, Runs

KUEUE = "kueue.x-k8s.io/v1beta2"
PREPARED = ("prepare", "Succeeded", 1, 0, 0)
ONCE = ("prepare", 1, "Succeeded")
LONG = BRIEF | {"fake/train-1.run-for": "1h", "fake/linger": "300ms"}
EXPECTED = {
    "success": End(
        *("Succeeded", "Succeeded"),
        (PREPARED, ("train", "Succeeded", 1, 0, 0)),
        (ONCE, ("train", 1, "Succeeded")),
    ),
    # The workload stays in its queue: the gang that comes of it next is the same attempt once more.
    "taken back": End(
        *("Succeeded", "Succeeded"),
        (PREPARED, ("train", "Succeeded", 1, 0, 1)),
        (ONCE, ("train", 1, "Preempted"), ("train", 1, "Succeeded")),
    ),
    "suspended": End(
        *("Succeeded", "Succeeded"),
        (PREPARED, ("train", "Succeeded", 2, 0, 0)),
        (ONCE, ("train", 1, "Suspended"), ("train", 2, "Succeeded")),
    ),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("queues"), nodes=2 * len(BACKENDS)) as cluster:
        cluster.controllers.start(*(one for needed in CONTROLLERS.values() for one in needed), "kueue")
        for kind, fields in (("ResourceFlavor", {}), ("WorkloadPriorityClass", {"value": 1000})):
            cluster.api.apply({"apiVersion": KUEUE, "kind": kind, "metadata": {"name": "urgent"}, **fields})
        Operator(cluster, options=["--lease-seconds", "15", "--discovery-seconds", "2"]).start()
        yield cluster


@pytest.fixture
def runs(cluster: Cluster) -> Runs:
    """A namespace with a queue for each backend, of one gang: two nodes with a GPU each."""
    made = Runs(cluster, cluster.new_namespace(labels=RESTRICTED))
    quotas = [(GPU, "2"), ("cpu", "100"), ("memory", "1Ti"), ("ephemeral-storage", "10Ti")]
    flavor = {"name": "urgent", "resources": [{"name": name, "nominalQuota": most} for name, most in quotas]}
    for backend in BACKENDS:
        queue = f"{made.namespace}-{backend.lower()}"
        spec: Json = {
            "namespaceSelector": {},
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": [name for name, _ in quotas], "flavors": [flavor]}],
        }
        cluster.api.apply(
            {"apiVersion": KUEUE, "kind": "ClusterQueue", "metadata": {"name": queue}, "spec": spec}
        )
        local = {"name": backend.lower(), "namespace": made.namespace}
        cluster.api.apply(
            {"apiVersion": KUEUE, "kind": "LocalQueue", "metadata": local, "spec": {"clusterQueue": queue}}
        )
    return made


def start_all(runs: Runs) -> None:
    for backend in BACKENDS:
        gang = {"execution": {"backend": backend.value}, "resources": {"nodes": 2, "gpusPerNode": 1}}
        runs.start(backend.lower(), gang | {"queueName": backend.lower()})


def check_ends(runs: Runs, scenario: str) -> None:
    ends = {backend: runs.wait_end(backend.lower()) for backend in BACKENDS}
    assert ends == dict.fromkeys(BACKENDS, EXPECTED[scenario])


def urgent(namespace: str, queue: str) -> Json:
    """A Job that wants all the quota, before everybody else."""
    amounts = {GPU: "2", "cpu": "1", "memory": "1Gi"}
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
    labels = {"kueue.x-k8s.io/queue-name": queue, "kueue.x-k8s.io/priority-class": "urgent"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"urgent-{queue}", "namespace": namespace, "labels": labels},
        "spec": {"suspend": True, "template": template},
    }


def test_success(runs: Runs) -> None:
    runs.describe_pods(BRIEF)
    start_all(runs)
    check_ends(runs, "success")


def test_quota_is_taken_back_and_given_again(cluster: Cluster, runs: Runs) -> None:
    runs.describe_pods(LONG)
    start_all(runs)
    for backend in BACKENDS:
        runs.wait_running(backend.lower())
        cluster.api.create(urgent(runs.namespace, backend.lower()))
    for backend in BACKENDS:
        name = backend.lower()
        wait_for(
            lambda name=name: runs.get(name)["status"]["attempts"][1].get("verdict") == "Preempted",
            timeout=PATIENCE,
            what=f"the preemption of {name}",
            state=lambda name=name: runs.get(name)["status"],
        )
        assert runs.pods(name) == []
        # Kueue 0.15 forgets a workload whose quota is wanted no more while it is still being taken back.
        wait_for(
            lambda name=name: (
                not cluster.api.get("jobs", f"urgent-{name}", runs.namespace)["spec"]["suspend"]
            ),
            timeout=PATIENCE,
            what=f"the start of urgent-{name}",
        )
        cluster.api.delete("jobs", f"urgent-{name}", runs.namespace)
    for backend in BACKENDS:
        for pod in runs.wait_running(backend.lower()):  # attempt 1 once more: it runs until it is told to end
            cluster.kubelet.end(pod, 0)
    check_ends(runs, "taken back")


def test_suspended_and_resumed(runs: Runs) -> None:
    runs.describe_pods(LONG)
    start_all(runs)
    for backend in BACKENDS:
        runs.wait_running(backend.lower())
        runs.change(backend.lower(), {"suspend": True})
    for backend in BACKENDS:
        assert runs.wait_end(backend.lower(), ("Suspended", "Failed")).phase == "Suspended"
        assert runs.pods(backend.lower()) == []
        runs.change(backend.lower(), {"suspend": False})
    check_ends(runs, "suspended")
