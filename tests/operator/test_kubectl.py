"""The kubectl plugin on a real API server: statuses written through the API, the console script as a process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asrtune_operator.values.names import ATTEMPT, RETRY, RUN_UID, STAGE
from cluster.binaries import find
from cluster.cluster import Cluster
from cluster.control_plane import ControlPlane
from cluster.waiting import wait_for
from tools.log_node import NAME as LOG_NODE
from tools.log_node import LogNode, log_node
from tools.plugin import Plugin
from tools.ports import free_port
from tools.statuses import FAILED, PENDING, RUNNING, SUCCEEDED, SUSPENDED, store

Json = dict[str, Any]
BACKING_OFF = {
    **PENDING,
    "conditions": [one | {"reason": "BackingOff"} for one in PENDING["conditions"]],
}
Make = Callable[..., Json]


@pytest.fixture
def plugin(cluster: Cluster) -> Plugin:
    return Plugin(cluster.kubeconfig)


@pytest.fixture
def make(cluster: Cluster, namespace: str) -> Make:
    return partial(store, cluster.api, namespace)


def pod_of(made: Json, rank: int, *, stage: str = "train", attempt: int = 2, node: str = "") -> Json:
    """A pod of a run's attempt; the test plays its node."""
    labels = {RUN_UID: made["metadata"]["uid"], STAGE: stage, ATTEMPT: str(attempt)}
    labels["batch.kubernetes.io/job-completion-index"] = str(rank)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"calls-{stage}-{attempt}-{rank}",
            "namespace": made["metadata"]["namespace"],
            "labels": labels,
            "annotations": {"fake/manual": "true"},
        },
        "spec": {
            "containers": [{"name": "pytorch", "image": "registry.example/trainer:1"}],
            "restartPolicy": "Never",
            **({"nodeName": node, "tolerations": [{"operator": "Exists"}]} if node else {}),
        },
    }


def test_as_kubectl_finds_it(cluster: Cluster, namespace: str, plugin: Plugin, make: Make) -> None:
    make(RUNNING)
    process = plugin.start(find("kube", "kubectl"), "asrtune", "status", "calls", "-n", namespace)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    said = " ".join(out.split())
    assert f"ASRFinetune {namespace}/calls Running for" in said
    assert "train Train Running 2 (1 interrupted)" in said
    assert "41 % step 4,650/10,000 1h34m to go" in said
    assert "48,960 in all: 46,560 productive, 2,400 lost (Preempted 2,400)" in said


def test_all_runs(namespace: str, plugin: Plugin, make: Make) -> None:
    assert plugin.says("status", "-n", namespace) == f"There are no runs in namespace {namespace}."
    assert "there is no namespace spech." in plugin.says("status", "-n", "spech", code=3)
    make(RUNNING, "one")
    make(FAILED, "two")
    make({}, "weekly", "ASREvaluation")
    done = plugin("status", "-n", namespace)
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert rows == [["NAME", "PHASE"], ["one", "Running"], ["two", "Failed"], ["evaluation/weekly", "New"]]


def test_json(cluster: Cluster, namespace: str, plugin: Plugin, make: Make) -> None:
    make(RUNNING)
    assert json.loads(plugin("status", "calls", "-n", namespace, "-o", "json").stdout) == cluster.api.get(
        "asrfinetunes", "calls", namespace
    )
    listed = json.loads(plugin("status", "-n", namespace, "-o", "json").stdout)
    assert [one["metadata"]["name"] for one in listed["items"]] == ["calls"]


def test_watching_ends_with_the_run(cluster: Cluster, namespace: str, plugin: Plugin, make: Make) -> None:
    make(RUNNING)
    watching = plugin.start("kubectl-asrtune", "status", "calls", "-n", namespace, "--watch")
    try:
        time.sleep(4)
        assert watching.poll() is None
        cluster.api.patch_status("asrfinetunes", "calls", SUCCEEDED, namespace)
        out, err = watching.communicate(timeout=30)
    finally:
        watching.kill()
    assert (watching.returncode, err) == (0, "")
    assert "Succeeded" in out
    assert "s3://speech/runs/calls/report/index.html" in out


def test_why(cluster: Cluster, namespace: str, plugin: Plugin, make: Make) -> None:
    made = make(PENDING)
    pod = cluster.api.create(pod_of(made, 0, attempt=1, node="fake-0"))
    cluster.kubelet.waiting(pod, "ImagePullBackOff", 'Back-off pulling image "registry.example/trainer:1"')
    for about, reason in ((made, "GpusUnavailable"), (pod, "FailedScheduling")):
        own = {key: about[key] for key in ("apiVersion", "kind")}
        metadata = {key: about["metadata"][key] for key in ("name", "namespace", "uid")}
        cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"calls.{reason.lower()}", "namespace": namespace},
                "involvedObject": own | metadata,
                "type": "Warning",
                "reason": reason,
                "message": f"about {reason}",
                "lastTimestamp": "2026-01-01T00:00:00Z",
            }
        )
    said = plugin.says("why", "calls", "-n", namespace, code=1)
    assert "GpusUnavailable: train waits for 2 nodes with 8 free GPUs each" in said
    assert "calls-train-1-0 on fake-0: Pending. ImagePullBackOff: Back-off pulling" in said
    assert "about GpusUnavailable" in said
    assert "pod calls-train-1-0: about FailedScheduling" in said
    document = json.loads(plugin("why", "calls", "-n", namespace, "-o", "json").stdout)
    assert (document["answer"], document["reason"]) == ("Waits", "GpusUnavailable")


@pytest.mark.parametrize(
    ("status", "code"), [(RUNNING, 0), (SUCCEEDED, 0), ({}, 1), (SUSPENDED, 1), (FAILED, 2)]
)
def test_exit_codes_of_why(namespace: str, plugin: Plugin, make: Make, status: Json, code: int) -> None:
    make(status)
    assert plugin.says("why", "calls", "-n", namespace, code=code)


def test_suspend_resume_retry_write_what_they_say(
    cluster: Cluster, namespace: str, plugin: Plugin, make: Make
) -> None:
    make(RUNNING)
    assert "it is not suspended. It runs." in plugin.says("resume", "calls", "-n", namespace, code=3)
    assert "it has not failed (Running)" in plugin.says("retry", "calls", "-n", namespace, code=3)
    cluster.api.patch_status("asrfinetunes", "calls", BACKING_OFF, namespace)
    assert "calls is started again" in plugin.says("retry", "calls", "-n", namespace)
    plugin.says("suspend", "calls", "-n", namespace)
    assert cluster.api.get("asrfinetunes", "calls", namespace)["spec"]["suspend"] is True
    plugin.says("resume", "calls", "-n", namespace)
    assert cluster.api.get("asrfinetunes", "calls", namespace)["spec"]["suspend"] is False
    cluster.api.patch_status("asrfinetunes", "calls", FAILED, namespace)
    assert "will do so again unless that was corrected" in plugin.says("retry", "calls", "-n", namespace)
    after = cluster.api.get("asrfinetunes", "calls", namespace)
    assert time.strptime(after["metadata"]["annotations"][RETRY], "%Y-%m-%dT%H:%M:%SZ")
    assert {one["manager"] for one in after["metadata"]["managedFields"]} >= {"kubectl-asrtune"}


def test_what_has_ended_is_not_suspended(
    cluster: Cluster, namespace: str, plugin: Plugin, make: Make
) -> None:
    made = make({})
    ended = SUCCEEDED | {"observedGeneration": made["metadata"]["generation"]}
    cluster.api.patch_status("asrfinetunes", "calls", ended, namespace)
    assert "it has ended (Succeeded)" in plugin.says("suspend", "calls", "-n", namespace, code=3)
    assert "it is not suspended. It is done." in plugin.says("resume", "calls", "-n", namespace, code=3)
    cluster.api.patch_status("asrfinetunes", "calls", FAILED, namespace)
    hint = f"`kubectl asrtune retry calls -n {namespace}` starts it again."
    assert hint in plugin.says("resume", "calls", "-n", namespace, code=3)


def test_an_evaluation_by_name(cluster: Cluster, namespace: str, plugin: Plugin, make: Make) -> None:
    make({}, "weekly", "ASREvaluation")
    plugin.says("suspend", "evaluation/weekly", "-n", namespace)
    assert cluster.api.get("asrevaluations", "weekly", namespace)["spec"]["suspend"] is True
    assert f"ASREvaluation {namespace}/evaluation/weekly New" in plugin.says(
        "status", "evaluation/weekly", "-n", namespace
    )
    assert 'Did you mean "evaluation/weekly"?' in plugin.says("status", "weekly", "-n", namespace, code=3)


def test_no_such_run(namespace: str, plugin: Plugin, make: Make) -> None:
    make(RUNNING)
    said = plugin.says("why", "cals", "-n", namespace, code=3)
    assert said == (f'error: there is no ASRFinetune cals in namespace {namespace}. Did you mean "calls"?')
    assert "names no run" in plugin.says("status", "pod/calls", "-n", namespace, code=3)


def test_rights(cluster: Cluster, namespace: str, make: Make) -> None:
    """Who may read runs learns why they wait; what else is forbidden is said with the verb."""
    make(PENDING)
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "engineer", "namespace": namespace},
        }
    )
    plugin = Plugin(cluster.plane.as_service_account(namespace, "engineer"))
    said = plugin.says("status", "calls", "-n", namespace, code=3)
    assert f"system:serviceaccount:{namespace}:engineer has no right to get asrfinetunes" in said
    rules = [{"apiGroups": ["asrtune.dev"], "resources": ["asrfinetunes"], "verbs": ["get", "list"]}]
    own = {"name": "engineer", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    cluster.api.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": own, "rules": rules})
    cluster.api.create(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": own,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "engineer"},
            "subjects": [{"kind": "ServiceAccount", **own}],
        }
    )
    wait_for(
        lambda: plugin("why", "calls", "-n", namespace).exit_code == 1, timeout=30, what="the right to read"
    )
    assert "GpusUnavailable" in plugin.says("why", "calls", "-n", namespace, code=1)
    said = plugin.says("suspend", "calls", "-n", namespace, code=3)
    assert "has no right to patch asrfinetunes" in said
    assert "has no right to list pods" in plugin.says("logs", "calls", "-n", namespace, code=3)


def test_ways_in_that_lead_nowhere(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    good = json.loads(cluster.kubeconfig.read_text())
    cases: dict[str, tuple[Any, str]] = {
        "absent": (None, "there is no kubeconfig"),
        "empty": ({}, "leads to no cluster"),
        "list": ([], "leads to no cluster"),
        "stranger": (
            good | {"users": [{"name": "test", "user": {"token": "expired"}}]},
            "the cluster of context test does not know you",
        ),
    }
    dead = f"https://127.0.0.1:{free_port()}"
    whole = json.loads(json.dumps(good))
    whole["clusters"][0]["cluster"]["server"] = dead
    cases["dead"] = (whole, f"the cluster of context test ({dead}) does not answer")
    for name, (document, words) in cases.items():
        path = tmp_path / name
        if document is not None:
            path.write_text(json.dumps(document))
        assert words in Plugin(path).says("status", "-n", namespace, code=3), name
    said = Plugin(cluster.kubeconfig).says("status", "--context", "tset", code=3)
    assert 'no context "tset". Did you mean "test"?' in said


def test_a_cluster_without_asrtune(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path)
    try:
        plane.start()
        plugin = Plugin(plane.kubeconfig)
        for arguments in (("status",), ("why", "calls")):
            said = plugin.says(*arguments, code=3)
            assert "the cluster does not know ASRFinetune (asrtune.dev/v1alpha1)" in said
    finally:
        plane.close()


@pytest.fixture
def two_ranks(cluster: Cluster, make: Make) -> Any:
    """A gang of two on a node that has their logs."""
    made = make(RUNNING)
    with log_node(cluster) as node:
        for rank in (0, 1):
            pod = cluster.api.create(pod_of(made, rank, node=LOG_NODE))
            cluster.kubelet.run(pod)
        node.logs["calls-train-2-0"] = [
            "2026-01-01T00:42:01.000000000Z rendezvous",
            "2026-01-01T00:42:03.123456789Z step 1",
        ]
        node.logs["calls-train-2-1"] = ["2026-01-01T08:42:02.000000000+08:00 joined"]
        yield node


def test_logs(namespace: str, plugin: Plugin, two_ranks: LogNode) -> None:
    done = plugin("logs", "calls", "-n", namespace)
    assert done.stdout.splitlines() == ["rank 0 | rendezvous", "rank 1 | joined", "rank 0 | step 1"]
    assert done.stderr.strip() == f"{namespace}/calls: train, attempt 2"
    done = plugin("logs", "calls", "-n", namespace, "--tail", "1", "--stage", "train", "--attempt", "2")
    assert done.stdout.splitlines() == ["rank 1 | joined", "rank 0 | step 1"]
    assert two_ranks.asked["calls-train-2-0"][-1]["tailLines"] == "1"


def test_followed_logs(cluster: Cluster, namespace: str, plugin: Plugin, two_ranks: LogNode) -> None:
    two_ranks.growing = set(two_ranks.logs)
    following = plugin.start("kubectl-asrtune", "logs", "calls", "-n", namespace, "-f")
    try:
        wait_for(lambda: len(two_ranks.asked) == 2, timeout=30, what="both logs")
        time.sleep(2)
        two_ranks.logs["calls-train-2-1"].append("2026-01-01T00:43:00.1Z last words")
        two_ranks.logs["calls-train-2-0"].append("2026-01-01T00:43:00.02Z step 2")
        time.sleep(2)
        for rank in (0, 1):
            cluster.kubelet.end(cluster.api.get("pods", f"calls-train-2-{rank}", namespace), 0)
        two_ranks.growing = set()
        out, _ = following.communicate(timeout=30)
    finally:
        following.kill()
    assert out.splitlines() == [
        "rank 0 | rendezvous",
        "rank 1 | joined",
        "rank 0 | step 1",
        "rank 0 | step 2",
        "rank 1 | last words",
    ]


def test_a_log_that_breaks_off_goes_on_where_it_was(
    cluster: Cluster, namespace: str, plugin: Plugin, two_ranks: LogNode
) -> None:
    """The node ends the stream though the pod runs: nothing is lost, nothing comes twice."""
    following = plugin.start("kubectl-asrtune", "logs", "calls", "-n", namespace, "-f")
    try:
        wait_for(lambda: len(two_ranks.asked.get("calls-train-2-0", [])) == 2, timeout=30, what="another try")
        two_ranks.logs["calls-train-2-0"].append("2026-01-01T00:43:00Z step 2")
        wait_for(lambda: len(two_ranks.asked["calls-train-2-0"]) == 4, timeout=30, what="a later try")
        for rank in (0, 1):
            cluster.kubelet.end(cluster.api.get("pods", f"calls-train-2-{rank}", namespace), 0)
        out, _ = following.communicate(timeout=30)
    finally:
        following.kill()
    assert out.splitlines() == [
        "rank 0 | rendezvous",
        "rank 1 | joined",
        "rank 0 | step 1",
        "rank 0 | step 2",
    ]
    assert two_ranks.asked["calls-train-2-0"][1]["sinceTime"] == "2026-01-01T00:42:03Z"


def test_logs_of_pods_that_have_not_started(
    cluster: Cluster, namespace: str, plugin: Plugin, make: Make
) -> None:
    made = make(RUNNING)
    assert "train, attempt 2 has no pods yet" in plugin.says("logs", "calls", "-n", namespace, code=3)
    cluster.api.create(
        pod_of(made, 0) | {"spec": {**pod_of(made, 0)["spec"], "nodeSelector": {"no": "such"}}}
    )
    done = plugin("logs", "calls", "-n", namespace)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "calls-train-2-0 has written nothing yet" in " ".join(done.stderr.split())
