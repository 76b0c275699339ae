"""The operator is killed, its API server restarts, answers are spoiled: nothing is made twice, lost, or left behind."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.operator import ACCOUNT, SYSTEM, Operator
from cluster.waiting import wait_for
from tools.fault_proxy import FaultProxy, run_fault_proxy
from tools.operated import BRIEF, End, Runs, end_of
from tools.plugin import Plugin
from tools.recorder import Recorder, recording

PREPARED = (("prepare", "Succeeded", 1, 0, 0), ("prepare", 1, "Succeeded"))
KINDS: dict[str, tuple[dict[str, str], End]] = {
    "fine": (
        {},
        End(
            *("Succeeded", "Succeeded"),
            (PREPARED[0], ("train", "Succeeded", 1, 0, 0)),
            (PREPARED[1], ("train", 1, "Succeeded")),
        ),
    ),
    "interrupted": (
        {"fake/train-1.exit-code": "75"},
        End(
            *("Succeeded", "Succeeded"),
            (PREPARED[0], ("train", "Succeeded", 2, 0, 1)),
            (PREPARED[1], ("train", 1, "Interrupted"), ("train", 2, "Succeeded")),
        ),
    ),
    "retried": (
        {"fake/train-1.exit-code": "70"},
        End(
            *("Succeeded", "Succeeded"),
            (PREPARED[0], ("train", "Succeeded", 2, 1, 0)),
            (PREPARED[1], ("train", 1, "InternalError"), ("train", 2, "Succeeded")),
        ),
    ),
    "wrong": (
        {"fake/train.exit-code": "65"},
        End(
            *("Failed", "DataInvalid"),
            (PREPARED[0], ("train", "Failed", 1, 0, 0)),
            (PREPARED[1], ("train", 1, "DataInvalid")),
        ),
    ),
}
"""How pods end, and what the run then has come to."""
WORDS = list(KINDS)
LONG_SECONDS = 3600
OPTIONS = ["--lease-seconds", "15", "--lease-holder", "the-only-one"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("chaos"), nodes=25) as cluster:
        yield cluster


def prepare(cluster: Cluster) -> Runs:
    """A namespace with a runtime for each kind of run."""
    runs = Runs(cluster, cluster.new_namespace("chaos"))
    for word, (pods, _) in KINDS.items():
        runs.describe_pods(BRIEF | pods, word)
    return runs


def start(runs: Runs, count: int, first: int = 0) -> list[str]:
    """Runs of every kind in turn, each with a gang of two nodes."""
    names = [f"{WORDS[number % len(WORDS)]}-{number}" for number in range(first, first + count)]
    for name in names:
        runs.start(name, spec_of(name))
    return names


def spec_of(name: str) -> dict[str, object]:
    """A gang of two nodes whose pods are of the run's kind."""
    return {
        "runtimeRef": {"name": name.split("-", maxsplit=1)[0], "kind": "ASRRuntime"},
        "resources": {"nodes": 2, "gpusPerNode": 1},
        "runPolicy": {"backoffSeconds": 1},
    }


def listed(runs: Runs) -> dict[str, Json]:
    found = runs.cluster.api.list("asrfinetunes", runs.namespace)
    return {one["metadata"]["name"]: one for one in found}


def finished(runs: Runs) -> int:
    return sum(end_of(one).phase in {"Succeeded", "Failed"} for one in listed(runs).values())


def check(runs: Runs, names: list[str], recorder: Recorder) -> None:
    """All came to their ends, nothing was made twice, and no two gangs of a run met."""
    assert recorder.wrong == []
    ours = {f"{runs.namespace}/{name}" for name in names}
    made = {name: uids for name, uids in recorder.names.items() if name.rsplit("-", 2)[0] in ours}
    assert {name for name, uids in made.items() if len(uids) != 1} == set()
    found = listed(runs)
    ends = {name: end_of(found[name]) for name in names}
    assert ends == {name: KINDS[name.split("-")[0]][1] for name in names}
    assert len(made) == sum(len(end.attempts) for end in ends.values())
    events = runs.cluster.api.list("events", runs.namespace, fields="involvedObject.kind=ASRFinetune")
    told = [(one["involvedObject"]["name"], one["reason"], one["message"]) for one in events]
    assert len(told) == len(set(told))


def delete_all(runs: Runs) -> None:
    """Nothing of them is left."""
    for name in listed(runs):
        runs.cluster.api.delete("asrfinetunes", name, runs.namespace)

    def left() -> list[str]:
        return [
            f"{kind}/{one['metadata']['name']}"
            for kind in ("jobs", "pods", "services", "configmaps")
            for one in runs.cluster.api.list(kind, runs.namespace, labels="asrtune.dev/run")
        ]

    wait_for(lambda: not left(), timeout=180, what="the end of the children", state=left, every=1)


def kill_at(operator: Operator, recorder: Recorder, changes: int, chance: random.Random) -> None:
    """SIGKILL once so many changes more were seen, or at some time before it has even begun to work."""
    goal = recorder.seen + chance.randrange(changes)
    wait_for(lambda: recorder.seen >= goal, timeout=120, what=f"{goal} changes", state=lambda: recorder.seen)
    process = operator.cluster.processes[operator.name]
    process.kill()
    process.start()


@pytest.mark.parametrize(("count", "kills"), [(20, 4), pytest.param(100, 15, marks=pytest.mark.soak)])
def test_killed_again_and_again(cluster: Cluster, count: int, kills: int) -> None:
    runs, chance = prepare(cluster), random.Random(count)
    operator = Operator(cluster, options=OPTIONS)
    operator.start()
    started = time.monotonic()
    with recording(cluster) as recorder:
        names = start(runs, count)
        for _ in range(kills):
            # about 30 changes of workloads and pods come of one run
            kill_at(operator, recorder, count * 30 // kills, chance)
        wait_for(
            lambda: finished(runs) == count,
            timeout=240,
            what="the ends",
            state=lambda: finished(runs),
            every=1,
        )
        took = time.monotonic() - started
        check(runs, names, recorder)
        delete_all(runs)
        assert recorder.wrong == []
    print(
        f"{count} runs, {kills} kills, {took:.0f} s, {recorder.seen} changes seen in {recorder.lists} lists"
    )
    cluster.processes[operator.name].stop()


@pytest.mark.soak
@pytest.mark.timeout(2 * LONG_SECONDS)
def test_killed_every_half_minute_for_an_hour(cluster: Cluster) -> None:
    """A hundred runs at a time; a new hundred as soon as they are done."""
    runs, chance = prepare(cluster), random.Random(3600)
    operator = Operator(cluster, options=OPTIONS)
    operator.start()
    ends, kills, made = time.monotonic() + LONG_SECONDS, 0, 0
    with recording(cluster) as recorder:
        while time.monotonic() < ends:
            names = start(runs, 100, made)
            made += len(names)
            while finished(runs) < len(names):
                time.sleep(chance.uniform(20, 40))
                cluster.processes[operator.name].kill()
                cluster.processes[operator.name].start()
                kills += 1
            check(runs, names, recorder)
            delete_all(runs)
    print(f"{made} runs, {kills} kills, {recorder.seen} changes seen")
    cluster.processes[operator.name].stop()


def test_the_api_server_restarts(cluster: Cluster) -> None:
    runs = prepare(cluster)
    operator = Operator(cluster, options=["--lease-seconds", "60"])
    process = operator.start()
    pid = process.pid
    with recording(cluster) as recorder:
        names: list[str] = []
        runs.describe_pods(BRIEF | {"fake/train.run-for": "30s"}, "slow")
        runs.start("slow-0", spec_of("slow-0"))
        waiter = waiting(Plugin(cluster.kubeconfig), "slow-0", runs.namespace)
        for kill in (True, False):
            names += start(runs, 6, len(names))
            goal = recorder.seen + 30  # in the middle: some 40 changes come of one run
            wait_for(lambda goal=goal: recorder.seen >= goal, timeout=120, what=f"{goal} changes")
            cluster.plane.restart("apiserver", kill=kill)
        wait_for(
            lambda: finished(runs) == 13, timeout=240, what="the ends", state=lambda: finished(runs), every=1
        )
        check(runs, names, recorder)
    said, remarks = waiter.communicate(timeout=60)
    assert (waiter.returncode, "Succeeded" in said) == (0, True), remarks
    assert (process.alive, process.pid) == (True, pid)
    delete_all(runs)
    process.stop()


def waiting(plugin: Plugin, name: str, namespace: str) -> subprocess.Popen[str]:
    """`kubectl asrtune wait`, once it has seen the run: its first question has no patience."""
    started = plugin.start("kubectl-asrtune", "wait", name, "-n", namespace)
    assert started.stderr is not None
    assert name in started.stderr.readline()
    return started


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[FaultProxy]:
    access = cluster.plane.access
    with run_fault_proxy(access.server, access.authority) as proxy:
        yield proxy


def test_spoiled_answers(cluster: Cluster, proxy: FaultProxy, tmp_path: Path) -> None:
    """A fifth of all answers are 409, 429, 500 or 503, some after the work was done; watches are dropped, or torn."""
    runs = prepare(cluster)
    operator = Operator(cluster, name="behind-proxy", options=["--lease-seconds", "60"])
    direct = Operator(cluster)
    direct.start()  # installs the rights
    cluster.processes[direct.name].stop()
    document = json.loads(cluster.plane.as_service_account(SYSTEM, ACCOUNT).read_text())
    document["clusters"][0]["cluster"] = {"server": proxy.url}
    operator.kubeconfig = tmp_path / "proxy.kubeconfig"
    operator.kubeconfig.write_text(json.dumps(document))
    process = operator.start()
    pid = process.pid
    with recording(cluster) as recorder:
        proxy.chance, proxy.torn = 0.2, 0.02
        names = start(runs, 12)
        wait_for(
            lambda: finished(runs) == 12, timeout=240, what="the ends", state=lambda: finished(runs), every=1
        )
        proxy.chance = proxy.torn = 0.0
        check(runs, names, recorder)
    print(f"spoiled: {dict(proxy.told)}")
    assert {told.split()[0] for told in proxy.told} >= {"409", "429", "500", "503"}
    assert {"watch dropped", "watch torn"} <= set(proxy.told)
    assert (process.alive, process.pid) == (True, pid)
    operator.wait_healthy(60)
    delete_all(runs)
    process.stop()
