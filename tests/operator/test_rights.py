"""The rights that we ship are those that are used, all of them and no more, and a tenant gets no others through us."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from asrtune_operator.backends.registry import BACKENDS
from cluster.client import Client, Json
from cluster.cluster import Cluster, run_cluster
from cluster.operator import ACCOUNT, ROOT, SYSTEM, Operator
from cluster.waiting import wait_for
from tools.attempts import CONTROLLERS, RESTRICTED
from tools.audit import Right, enable_audit, granted, used
from tools.evaluations import evaluation
from tools.operated import BRIEF, PATIENCE, Runs

KUEUE = "kueue.x-k8s.io/v1beta2"
TENANT = "tenant"
LONG = {"runtimeRef": {"name": "long", "kind": "ASRRuntime"}}
"""A run whose training does not end by itself, once `run_disturbed` has described its pods."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("rights"), nodes=9) as cluster:
        cluster.controllers.start(*(one for needed in CONTROLLERS.values() for one in needed), "kueue")
        yield cluster


@pytest.fixture(scope="module")
def log(cluster: Cluster) -> Path:
    return enable_audit(cluster, f"system:serviceaccount:{SYSTEM}:{ACCOUNT}")


@pytest.fixture(scope="module")
def operator(cluster: Cluster, log: Path) -> Operator:
    found = Operator(cluster, options=["--lease-seconds", "15", "--discovery-seconds", "2"])
    found.start()
    return found


@pytest.fixture
def runs(cluster: Cluster, operator: Operator) -> Runs:
    return Runs(cluster, cluster.new_namespace(labels=RESTRICTED))


def shipped() -> list[Json]:
    return list(yaml.safe_load_all((ROOT / "operator/rbac/cluster.yaml").read_text()))


def run_backends(runs: Runs) -> None:
    """A gang on each backend, whose workloads are deleted after it."""
    for backend in BACKENDS:
        gang = {"execution": {"backend": backend.value}, "resources": {"nodes": 2, "gpusPerNode": 1}}
        runs.start(backend.lower(), gang | {"runPolicy": {"ttlSecondsAfterFinished": 1}})
    for backend in BACKENDS:
        assert runs.wait_end(backend.lower()).phase == "Succeeded"
    wait_for(
        lambda: not runs.cluster.api.list("pods", runs.namespace),
        timeout=PATIENCE,
        what="the end of the pods",
    )


def reason_of(runs: Runs, name: str) -> str:
    listed = runs.get(name).get("status", {}).get("conditions", [])
    return "".join(one["reason"] for one in listed if one["type"] == "Running")


def run_waits(runs: Runs) -> None:
    """What is looked up to tell why something waits: nodes, claims, events, Kueue's queues and workloads."""
    api, namespace = runs.cluster.api, runs.namespace
    queue = {"apiVersion": KUEUE, "kind": "LocalQueue", "metadata": {"name": "held", "namespace": namespace}}
    stopped = {"apiVersion": KUEUE, "kind": "ClusterQueue", "metadata": {"name": "held"}}
    api.apply(stopped | {"spec": {"namespaceSelector": {}, "resourceGroups": [], "stopPolicy": "Hold"}})
    api.apply(queue | {"spec": {"clusterQueue": "held"}})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "unbound", "namespace": namespace}
    api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    volume = {"name": "corpus", "claim": "unbound", "mountPath": "/corpus"}
    waits: dict[str, tuple[dict[str, Any], str]] = {
        "too-big": ({"startAt": "train", "resources": {"gpusPerNode": 16}}, "GpusUnavailable"),
        "unbound": ({"volumes": [volume]}, "ClaimUnbound"),
        "held": ({"queueName": "held"}, "QueueInactive"),
    }
    for name, (changes, _) in waits.items():
        runs.start(name, changes)
    for name, (_, reason) in waits.items():
        wait_for(
            lambda name=name, reason=reason: reason_of(runs, name) == reason,
            timeout=PATIENCE,
            what=f"{reason} of {name}",
            state=lambda name=name: runs.get(name).get("status"),
        )
        api.delete("asrfinetunes", name, namespace)


def run_disturbed(runs: Runs) -> None:
    """A run that is edited while it runs, whose node is lost, and that is met by somebody else's change."""
    runs.describe_pods({"fake/train-1.run-for": "1h"} | BRIEF, "long")
    runs.start("lost", LONG)
    (pod,) = runs.wait_running("lost")
    node = pod["spec"]["nodeName"]
    runs.cluster.kwok.lose_node(node)
    runs.change("lost", {"runPolicy": {"maxRetries": 1}})
    end = runs.wait_end("lost")
    assert ("train", 1, "NodeLost") in end.attempts
    runs.cluster.kwok.return_node(node)


def run_evaluation(runs: Runs) -> None:
    document = evaluation(
        {
            "models": [{"name": "base", "hub": "iic/SenseVoiceSmall"}],
            "testSets": [{"name": "calls", "uri": "s3://speech/calls.jsonl"}],
            "output": {"uri": "s3://speech/check"},
            "runtimeRef": {"name": "own", "kind": "ASRRuntime"},
        }
    )
    document["metadata"]["namespace"] = runs.namespace
    runs.cluster.api.create(document)
    runs.cluster.api.wait(
        "asrevaluations", "check", lambda one: one.get("status"), runs.namespace, timeout=PATIENCE
    )


def run_beside_others(runs: Runs, log: Path) -> None:
    """Somebody writes to runs while the operator does: it reads anew what it has an old version of."""
    runs.start("met", {})
    api, numbers = runs.cluster.api, itertools.count()

    def read_anew(kind: str, name: str) -> bool:
        policy = {"annotations": {"test/number": str(next(numbers))}}
        suspend = {"suspend": next(numbers) % 4 == 1}
        api.patch(kind, name, {"metadata": policy, "spec": suspend}, runs.namespace)
        for number in range(20):
            api.patch(kind, name, {"metadata": {"annotations": {"test/other": str(number)}}}, runs.namespace)
        return Right("asrtune.dev", kind, "get") in used(log)

    for kind, name in (("asrfinetunes", "met"), ("asrevaluations", "check")):
        wait_for(
            lambda kind=kind, name=name: read_anew(kind, name),
            timeout=PATIENCE,
            what=f"a {kind} that has changed meanwhile",
        )


def test_every_right_is_used_and_no_other(
    cluster: Cluster, operator: Operator, runs: Runs, log: Path
) -> None:
    runs.describe_pods(BRIEF)
    run_backends(runs)
    runs.describe_pods({"fake/run-for": "5s"})
    run_evaluation(runs)
    run_beside_others(runs, log)
    runs.describe_pods(BRIEF)
    run_waits(runs)
    run_disturbed(runs)
    runs.start("under-way", LONG)
    runs.wait_running("under-way")
    cluster.processes[operator.name].kill()
    operator.start()  # it finds a run under way, and its Lease
    given = granted(shipped())
    wait_for(
        lambda: given <= used(log),
        timeout=PATIENCE,
        what="the use of every right",
        state=lambda: sorted(given - used(log)),
    )
    assert used(log) - given == set()
    assert '"authorization.k8s.io/decision":"forbid"' not in log.read_text()
    print(f"{len(given)} rights, each used")


def tenant(cluster: Cluster, namespace: str) -> Client:
    """Somebody who may write runs in one namespace, and nothing else."""
    account = {"name": TENANT, "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": ["asrtune.dev"], "resources": ["asrfinetunes", "asrevaluations"], "verbs": ["*"]}]
    cluster.api.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": account, "rules": rules},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": account,
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": TENANT},
                "subjects": [{"kind": "ServiceAccount", **account}],
            },
        ]
    )
    return Client(cluster.plane.service_account(namespace, TENANT))


def runs_path(namespace: str) -> str:
    return f"/apis/asrtune.dev/v1alpha1/namespaces/{namespace}/asrfinetunes?fieldValidation=Strict"


REFUSED: dict[str, dict[str, Any]] = {
    "a host path": {"volumes": [{"name": "root", "hostPath": {"path": "/"}, "mountPath": "/host"}]},
    "a claim of another namespace": {"volumes": [{"name": "a", "claim": "other/corpus", "mountPath": "/a"}]},
    "a mount over the service account": {
        "volumes": [{"name": "a", "claim": "mine", "mountPath": "/etc/asrtune/run"}]
    },
    "a mount that climbs": {"volumes": [{"name": "a", "claim": "mine", "mountPath": "/a/../etc/asrtune"}]},
    "a Secret of another namespace": {"storage.secretRef": {"name": "keys", "namespace": "other"}},
    "a Secret by a path": {"storage.secretRef": {"name": "../other/keys"}},
    "a runtime of another namespace": {
        "runtimeRef": {"name": "own", "kind": "ASRRuntime", "namespace": "other"}
    },
    "a pod of its own": {"pod": {"runAsUser": 0}},
    "a security context": {"securityContext": {"runAsUser": 0}},
    "an image": {"image": "evil"},
    "root by resources": {"resources.privileged": True},
}
"""What a tenant asks for, and the API server must refuse."""


@pytest.mark.parametrize("what", REFUSED)
def test_a_tenant_cannot_ask_for(cluster: Cluster, runs: Runs, what: str) -> None:
    client = tenant(cluster, runs.namespace)
    status, answer = client.request("POST", runs_path(runs.namespace), runs.document("demo", REFUSED[what]))
    assert status in {400, 422}, answer
    assert "spec" in answer["message"]


def test_a_tenant_stays_in_its_namespace(cluster: Cluster, runs: Runs) -> None:
    """Names that exist elsewhere only: nothing of it is used, and its pods pass the level `restricted`."""
    elsewhere = Runs(cluster, cluster.new_namespace("other"))
    elsewhere.describe_pods(BRIEF, "theirs", runAsUser=1234)
    keys = {"name": "keys", "namespace": elsewhere.namespace}
    cluster.api.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": keys, "stringData": {"key": "hidden"}}
    )
    client = tenant(cluster, runs.namespace)
    for path in (runs_path(elsewhere.namespace), f"/api/v1/namespaces/{runs.namespace}/pods"):
        assert client.request("POST", path, elsewhere.document("demo"))[0] == 403
    stolen = runs.document("stolen", {"runtimeRef": {"name": "theirs", "kind": "ASRRuntime"}})
    assert client.request("POST", runs_path(runs.namespace), stolen)[0] == 201
    wait_for(lambda: reason_of(runs, "stolen") == "RuntimeNotFound", timeout=PATIENCE, what="RuntimeNotFound")
    runs.describe_pods({})
    fine = runs.document("fine", {"startAt": "train", "resources": {"gpusPerNode": 1}})
    assert client.request("POST", runs_path(runs.namespace), fine)[0] == 201
    (pod,) = runs.wait_running("fine")
    assert pod["metadata"]["namespace"] == runs.namespace
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [one for one in pod["spec"]["volumes"] if "hostPath" in one or "secret" in one]


def test_the_operator_itself_can_read_no_secret(cluster: Cluster, operator: Operator, namespace: str) -> None:
    own = Client(cluster.plane.service_account(SYSTEM, ACCOUNT))
    for path in (
        f"/api/v1/namespaces/{namespace}/secrets",
        f"/api/v1/namespaces/{SYSTEM}/secrets/any",
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
        f"/api/v1/namespaces/{namespace}/pods/any/log",
    ):
        assert own.request("GET", path)[0] == 403
