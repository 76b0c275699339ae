"""What somebody reaches who runs code in a trainer pod, asked from inside a real one (docs/security.md)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.nodes import HOST, Nodes
from tools.on_nodes import USER, RealRun, Workplace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PROBE = """
import json, os, pathlib, ssl, sys, urllib.error, urllib.request
server, kubelet, mounted = sys.argv[1:]
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())

def attempt(action):
    try:
        return str(action())
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return type(error).__name__ if error.errno is None else os.strerror(error.errno)

def ask(url):
    context = ssl._create_unverified_context()
    return urllib.request.urlopen(url, context=context, timeout=5).status

print(json.dumps({
    "user": os.getuid(),
    "capabilities": [int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Bnd")],
    "new privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "API server, Secrets": attempt(lambda: ask(server + "/api/v1/secrets")),
    "API server, runs": attempt(lambda: ask(server + "/apis/asrtune.dev/v1alpha1/asrfinetunes")),
    "kubelet": attempt(lambda: ask(kubelet + "/pods")),
    "root file system": attempt(lambda: open("/somewhere", "w")),
    "its RunSpec": attempt(lambda: open("/etc/asrtune/run/run.json", "w")),
    "a read-only claim": attempt(lambda: open(mounted + "/somewhere", "w")),
    "become root": attempt(lambda: os.setuid(0)),
    "processes": sorted(int(one) for one in os.listdir("/proc") if one.isdigit())[0],
    "devices": sorted(one for one in os.listdir("/dev") if one.startswith(("sd", "vd", "nvme", "mem", "kmsg"))),
    "sockets": [str(one) for one in pathlib.Path("/run").rglob("*.sock")],
}))
"""


@pytest.fixture(scope="module")
def running(workplace: Workplace) -> Iterator[RealRun]:
    """A run whose gang trains."""

    def long(project: Any) -> None:
        project.stage("train").update(epochs=500)
        del project.spec["stages"][2:]

    run = workplace.run("compromised", long)
    run.apply()
    run.wait_for_step(1)
    yield run
    run.delete()


@pytest.fixture(scope="module")
def reached(nodes: tuple[Cluster, Nodes], running: RealRun) -> Json:
    """What the probe found in rank 0's pod."""
    plane = nodes[0].plane
    pod = running.pods("train")[0]
    read_only = next(one for one in running.manifest["spec"]["volumes"] if one["readOnly"])
    kubelet = f"https://{pod['status']['hostIP']}:10250"
    server = plane.access_of("none", HOST).server
    asked = (server, kubelet, read_only["mountPath"])
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    said = plane.kubectl("exec", "-n", namespace, name, "--", sys.executable, "-c", PROBE, *asked)
    found: Json = json.loads(said)
    return found


def test_it_is_nobody_and_can_become_nobody_else(reached: Json) -> None:
    assert reached["user"] == USER
    assert reached["capabilities"] == [0, 0, 0]
    assert (reached["new privileges"], reached["seccomp"]) == ("1", "2")
    assert reached["become root"] == "Operation not permitted"


def test_the_api_server_and_the_kubelet_do_not_know_it(reached: Json) -> None:
    assert reached["token"] is False
    for what in ("API server, Secrets", "API server, runs", "kubelet"):
        assert reached[what] in {"401", "403"}, what


def test_it_writes_its_own_places_alone(reached: Json) -> None:
    for what in ("root file system", "its RunSpec", "a read-only claim"):
        assert reached[what] == "Read-only file system", what


def test_it_sees_its_own_container_alone(reached: Json) -> None:
    assert reached["processes"] == 1
    assert reached["devices"] == []
    assert reached["sockets"] == []
