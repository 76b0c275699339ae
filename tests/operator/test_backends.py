"""Every backend with its real controller: the same spec, the same ends."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from asrtune_api.policy import Backend
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.render.pods import pod_template
from asrtune_operator.values.observed import Outcome
from cluster.client import ApiError
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.attempts import Attempt, Attempts
from tools.gangs import EVERYTHING, OWN_VOLUMES, gang_run, unit_of

QUICK = {"fake/run-for": "300ms"}
PLAYED = {"fake/manual": "true"}
all_backends = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.value)


@pytest.fixture
def attempts(cluster: Cluster) -> Iterator[Attempts]:
    """Makes attempts, and deletes their runs after the test."""
    made = Attempts(cluster)
    yield made
    made.close()


def running(nodes: int) -> Any:
    return lambda pods: len(pods) == nodes and all(pod.running for pod in pods)


def scheduled(nodes: int) -> Any:
    return lambda pods: len(pods) == nodes and all(pod.node for pod in pods)


def play(cluster: Cluster, attempt: Attempt, codes: dict[int, int]) -> None:
    """Run all pods, then end those of these ranks."""
    raw = {pod["metadata"]["name"]: pod for pod in attempt.raw_pods()}
    ranks = {pod.rank: cluster.kubelet.run(raw[pod.name]) for pod in attempt.pods()}
    for rank, code in codes.items():
        cluster.kubelet.end(ranks[rank], code, f"rank {rank} says {code}")


def suspend(cluster: Cluster, attempt: Attempt, *, to: bool) -> None:
    kind = attempt.backend.backend
    spec: dict[str, Any] = {"suspend": to}
    spec = {"runPolicy": spec} if kind is Backend.PYTORCH_JOB else spec
    cluster.api.patch(kind.value, attempt.name, {"spec": spec}, attempt.namespace)


@all_backends
@pytest.mark.parametrize("nodes", [1, 2])
def test_success(attempts: Attempts, backend: Backend, nodes: int) -> None:
    attempt = attempts(backend, nodes=nodes, annotations=QUICK, number=3)
    attempt.apply()
    done = attempt.wait_for_view(lambda view: view.outcome is not None)
    assert (done.outcome, done.stage, done.attempt, done.suspended) == (Outcome.SUCCEEDED, "train", 3, False)
    assert (done.name, done.backend) == ("demo-train-3", backend)
    pods = attempt.pods()
    assert [pod.rank for pod in pods] == list(range(nodes))
    assert {(pod.stage, pod.attempt, pod.gpus, pod.phase) for pod in pods} == {("train", 3, 2, "Succeeded")}
    assert {pod.run_spec for pod in pods} == {done.run_spec} == {attempt.manifests[0]["metadata"]["name"]}


@all_backends
def test_what_the_controller_gives_the_pods(
    attempts: Attempts, backend: Backend, snapshot: SnapshotAssertion
) -> None:
    """What differs from our template, which only the controller knows. Pods differ by rank, which is in labels."""
    attempt = attempts(backend, number=2)
    attempt.apply()
    attempt.wait_for_pods(running(2))
    first, second = sorted(attempt.raw_pods(), key=lambda pod: str(pod["metadata"]["name"]))
    assert first["spec"]["containers"] == second["spec"]["containers"]
    (container,) = second["spec"]["containers"]
    shown = {
        "hostname": second["spec"].get("hostname"),
        "subdomain": second["spec"].get("subdomain"),
        "init containers": [one["name"] for one in second["spec"].get("initContainers", ())],
        "labels": second["metadata"]["labels"],
        "annotations": second["metadata"]["annotations"],
        "command": container["command"] + container["args"],
        "env": container["env"],
        "ports": container["ports"],
    }
    assert _steady(yaml.safe_dump(shown, sort_keys=False), attempt) == snapshot


@all_backends
def test_one_pod_with_wrong_data_fails_the_gang(
    cluster: Cluster, attempts: Attempts, backend: Backend
) -> None:
    attempt = attempts(backend, annotations=PLAYED | {"fake/linger": "3s"})
    attempt.apply()
    attempt.wait_for_pods(scheduled(2))
    start = time.monotonic()
    play(cluster, attempt, {1: 65})
    view = attempt.wait_for_view(lambda view: view.outcome is not None)
    print(f"{backend.value}: {view.reason} after {time.monotonic() - start:.1f} s: {view.message}")
    assert view.outcome is Outcome.FAILED
    assert view.reason
    assert view.message
    failed = next(pod for pod in attempt.pods() if pod.rank == 1)
    assert (failed.phase, failed.container.exit_code, failed.container.message) == (
        *("Failed", 65),
        "rank 1 says 65",
    )


@all_backends
def test_all_must_succeed(cluster: Cluster, attempts: Attempts, backend: Backend) -> None:
    """Also rank 0 alone is not enough."""
    attempt = attempts(backend, annotations=PLAYED)
    attempt.apply()
    attempt.wait_for_pods(scheduled(2))
    play(cluster, attempt, {0: 0})
    time.sleep(2)
    assert attempt.view().outcome is None
    last = next(pod for pod in attempt.raw_pods() if pod["status"]["phase"] == "Running")
    cluster.kubelet.end(last, 0)
    attempt.wait_for_view(lambda view: view.outcome is Outcome.SUCCEEDED)


@all_backends
def test_suspended_at_creation(cluster: Cluster, attempts: Attempts, backend: Backend) -> None:
    attempt = attempts(backend, suspended=True)
    attempt.apply()
    time.sleep(3)
    assert attempt.view().suspended
    assert attempt.pods() == []
    suspend(cluster, attempt, to=False)
    attempt.wait_for_pods(running(2))
    assert not attempt.view().suspended


@all_backends
@pytest.mark.parametrize("linger", ["10ms", "900ms"])
def test_suspended_while_it_runs(cluster: Cluster, attempts: Attempts, backend: Backend, linger: str) -> None:
    """As Kueue does to take quota back: the pods are told to stop, end with 75, and that fails nothing."""
    attempt = attempts(backend, annotations={"fake/linger": linger})
    attempt.apply()
    before = attempt.wait_for_pods(running(2))
    suspend(cluster, attempt, to=True)
    attempt.wait_for_pods(lambda pods: not pods)
    view = attempt.view()
    assert (view.suspended, view.outcome) == (True, None)
    time.sleep(1.5)  # the Job controller looks a second later
    suspend(cluster, attempt, to=False)
    after = attempt.wait_for_pods(running(2))
    time.sleep(1.5)
    assert attempt.view().outcome is None
    assert {pod.uid for pod in before}.isdisjoint(pod.uid for pod in after)


@all_backends
def test_deleted_with_its_pods(cluster: Cluster, attempts: Attempts, backend: Backend) -> None:
    """They get SIGTERM and their time, while the workload is gone at once."""
    attempt = attempts(backend, annotations={"fake/linger": "2s"})
    attempt.apply()
    attempt.wait_for_pods(running(2))
    cluster.api.delete(backend.value, attempt.name, attempt.namespace)
    cluster.api.wait_until_gone(backend.value, attempt.name, attempt.namespace, timeout=2)
    attempt.wait_for_pods(lambda pods: bool(pods) and all(pod.deleting for pod in pods))
    attempt.wait_for_pods(lambda pods: not pods)


@all_backends
def test_nothing_is_left_of_a_deleted_run(cluster: Cluster, attempts: Attempts, backend: Backend) -> None:
    attempt = attempts(backend)
    attempt.apply()
    attempt.wait_for_pods(running(2))
    cluster.api.delete("asrfinetunes", "demo", attempt.namespace)
    attempt.wait_for_pods(lambda pods: not pods)
    for made in attempt.manifests:
        cluster.api.wait_until_gone(
            f"{made['apiVersion']}/{made['kind']}", made["metadata"]["name"], attempt.namespace
        )
    left = cluster.api.list("services", attempt.namespace)
    assert left == []


@all_backends
def test_next_attempt_beside_what_is_left_of_the_last(attempts: Attempts, backend: Backend) -> None:
    """The operator recreates a gang under the next number: its pods say so, and no object is in the way."""
    first = attempts(backend, annotations=QUICK | {"fake/train-1.exit-code": "75"})
    first.apply()
    first.wait_for_view(lambda view: view.outcome is Outcome.FAILED)
    second = first.next()
    second.apply()
    done = second.wait_for_view(lambda view: view.outcome is not None)
    assert (done.outcome, done.attempt) == (Outcome.SUCCEEDED, 2)
    ends = {(pod.attempt, pod.phase) for pod in second.pods()}
    assert (2, "Succeeded") in ends


@all_backends
def test_drained_pod(cluster: Cluster, attempts: Attempts, backend: Backend) -> None:
    """It ends its gang; no controller puts another in its place."""
    attempt = attempts(backend, annotations={"fake/linger": "500ms"})
    attempt.apply()
    before = attempt.wait_for_pods(running(2))
    cluster.api.evict(before[1].name, attempt.namespace)
    view = attempt.wait_for_view(lambda view: view.outcome is not None)
    print(f"{backend.value}: {view.reason}: {view.message}")
    assert view.outcome is Outcome.FAILED
    assert {pod.uid for pod in attempt.pods()} <= {pod.uid for pod in before}


@all_backends
def test_pod_deleted_by_force(cluster: Cluster, attempts: Attempts, backend: Backend) -> None:
    """So, too; but training-operator, if it has not seen it end, puts another in its place."""
    attempt = attempts(backend)
    attempt.apply()
    before = attempt.wait_for_pods(running(2))
    cluster.api.delete("pods", before[1].name, attempt.namespace, grace_seconds=0)

    def noticed() -> bool:
        another = any(pod.rank == 1 and pod.uid != before[1].uid for pod in attempt.pods())
        assert not another or backend is Backend.PYTORCH_JOB
        return another or attempt.view().outcome is Outcome.FAILED

    wait_for(noticed, what=f"{backend.value} to notice", state=attempt.view)


@all_backends
def test_api_server_knows_every_field(cluster: Cluster, attempts: Attempts, backend: Backend) -> None:
    """And a pod with all that a runtime and a manifest can ask for passes the level `restricted`."""
    attempt = attempts(backend)
    cluster.api.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "batch"},
            "value": 0,
        }
    )
    asked = OWN_VOLUMES | {"resources": {"nodes": 2, "gpusPerNode": 2, "cpu": "4", "memory": "8Gi"}}
    run = gang_run(
        asked, backend=backend, runtime=EVERYTHING, namespace=attempt.namespace, secret="s", uid=attempt.uid
    )
    *others, workload = attempt.backend.render(run, unit_of(run, "train"), 1)
    for manifest in others:
        cluster.api.create(manifest)
    wait_for(lambda: _created(cluster, workload), timeout=10, what="the workload to be admitted")
    template = pod_template(run, unit_of(run, "train"), 1, rank_label="rank", leader="leader")
    pod = template | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] |= {"name": "alone", "namespace": attempt.namespace}
    cluster.api.create(pod, dry_run=True)


def _created(cluster: Cluster, workload: dict[str, Any]) -> bool:
    """Trainer's webhook refuses a TrainJob whose TrainingRuntime it has not heard of yet."""
    try:
        cluster.api.create(workload, dry_run=True)
    except ApiError as error:
        if "must be created before" not in str(error):
            raise
        return False
    return True


def _steady(text: str, attempt: Attempt) -> str:
    """Without what is different each time."""
    text = text.replace(attempt.uid, "RUN-UID").replace(attempt.namespace, "NAMESPACE")
    text = text.replace(attempt.manifests[0]["metadata"]["name"], "RUN-SPEC")
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{40}", "UID", text)
