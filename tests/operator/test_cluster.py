"""The cluster's own promises: parts restart under a test, accounts have their rights, nothing outlives a test."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.client import ApiError, Client
from cluster.cluster import Cluster
from cluster.waiting import wait_for

TESTS = Path(__file__).parents[1]
STARTS_ONE = """
import sys, time
from pathlib import Path
from cluster.process import Processes
processes = Processes(Path(sys.argv[1]))
print(processes.start("sleeper", ["sh", "-c", "sleep 300 & wait"]).pid, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("name", ["apiserver", "etcd", "controller-manager", "scheduler"])
def test_part_is_killed_and_comes_back_with_its_data(cluster: Cluster, namespace: str, name: str) -> None:
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": namespace}}
    stored = cluster.api.create(kept)
    before = cluster.processes[name].pid
    assert cluster.plane.restart(name, kill=True).pid != before
    assert cluster.api.get("configmaps", "kept", namespace)["metadata"]["uid"] == stored["metadata"]["uid"]


def test_frozen_apiserver_answers_again_when_thawed(cluster: Cluster) -> None:
    process = cluster.processes["apiserver"]
    process.freeze()
    try:
        assert not cluster.api.ready()
    finally:
        process.thaw()
    wait_for(cluster.api.ready, what="the API server")


def test_memory_and_time_of_a_process_are_known(cluster: Cluster) -> None:
    process = cluster.processes["apiserver"]
    assert 50 < process.rss_mib <= process.peak_rss_mib < 4096
    before = process.cpu_seconds
    for _ in range(300):
        cluster.api.list("nodes")
    assert process.cpu_seconds > before
    assert set(cluster.processes.rss_mib()) >= {
        "etcd",
        "apiserver",
        "controller-manager",
        "scheduler",
        "kwok",
    }


def test_service_account_can_do_what_its_role_says(cluster: Cluster, namespace: str) -> None:
    rbac = "rbac.authorization.k8s.io"
    cluster.api.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "reader", "namespace": namespace},
            },
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "Role",
                "metadata": {"name": "reader", "namespace": namespace},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
            },
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "reader", "namespace": namespace},
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
            },
        ]
    )
    reader = Client(cluster.plane.service_account(namespace, "reader"))
    assert reader.list("pods", namespace) == []
    with pytest.raises(ApiError, match="cannot list resource"):
        reader.list("secrets", namespace)
    kubeconfig = cluster.plane.as_service_account(namespace, "reader")
    who = cluster.plane.kubectl("auth", "whoami", kubeconfig=kubeconfig)
    assert f"system:serviceaccount:{namespace}:reader" in who


def test_lost_node_shows_and_returns(cluster: Cluster) -> None:
    (name,) = cluster.kwok.add_nodes(1, gpus=2, taints=[{"key": "ours", "effect": "NoSchedule"}])
    try:
        cluster.kwok.lose_node(name)
        lost = cluster.api.wait(
            "nodes",
            name,
            lambda node: (
                "node.kubernetes.io/unreachable" in {taint["key"] for taint in node["spec"].get("taints", ())}
            ),
            timeout=60,
        )
        assert cluster.api.condition(lost, "Ready")["status"] == "Unknown"
        cluster.kwok.return_node(name)
        cluster.api.wait("nodes", name, lambda node: cluster.api.condition(node, "Ready")["status"] == "True")
    finally:
        cluster.kwok.remove_node(name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_a_test_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(TESTS)},
    )
    assert starter.stdout
    group = int(starter.stdout.readline())
    wait_for(lambda: members(group) == 2, what="the shell and its child")
    starter.send_signal(number)
    starter.wait()
    wait_for(lambda: members(group) == 0, timeout=10, what=f"the end of process group {group}")


def members(group: int) -> int:
    """How many processes of a group are alive."""
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        count += int(process_group) == group and state != "Z"
    return count
