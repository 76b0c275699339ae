"""The operator in a pod made of its image alone."""

from __future__ import annotations

import time
from importlib.metadata import version

import pytest

from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.inside import Inside
from tools.operator_pod import SYSTEM, OperatorPod

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def inside(cluster: Cluster, operator: OperatorPod) -> Inside:
    (pod,) = operator.pods()
    return Inside(cluster, SYSTEM, pod["metadata"]["name"])


def test_commands_know_their_version(inside: Inside) -> None:
    assert inside.run("kubectl-asrtune", "--version") == f"kubectl-asrtune {version('asrtune')}"
    assert inside.run("asrtune-operator", "version") == version("asrtune")


def test_it_runs_as_the_images_user_on_a_root_that_nobody_can_write(inside: Inside) -> None:
    assert inside.run("id", "-u") == "65532"
    assert (
        inside.run("sh", "-c", "touch /tmp/x /opt/asrtune/x 2>&1 || true").count("Read-only file system") == 2
    )


def test_it_holds_no_tools_for_an_intruder(inside: Inside) -> None:
    assert inside.compilers() == []
    assert inside.changes_users() == []
    assert inside.left_behind() == []
    assert set(inside.writable_by_all()) <= {"/tmp", "/var/tmp", "/run/lock"}
    assert inside.run("sh", "-c", "command -v asrtune || echo no trainer") == "no trainer"


def test_asked_to_end_it_ends_at_once_and_the_next_goes_on(cluster: Cluster, operator: OperatorPod) -> None:
    (pod,) = operator.pods()
    asked = time.monotonic()
    cluster.api.delete("pods", pod["metadata"]["name"], SYSTEM)
    uid = pod["metadata"]["uid"]
    wait_for(lambda: all(one["metadata"]["uid"] != uid for one in operator.pods()), timeout=60)
    gone = time.monotonic() - asked
    operator.wait_ready(other_than=uid)
    print(f"\nSIGTERM -> gone {gone:.1f} s, next one ready {time.monotonic() - asked:.1f} s")
    assert gone < 15, "PID 1 did not hear SIGTERM: the kubelet killed it after the grace period of 30 s"
