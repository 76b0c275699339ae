"""Gangs of several nodes: real processes on loopback, each node with a scratch directory of its own."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.network import two_machines
from tools.on_s3 import put_on_s3
from tools.pods import PROGRAM, UID, Pod, descendants, start_gang, start_pod, write_run
from tools.ports import free_port
from tools.project import Project, make_project

pytestmark = pytest.mark.timeout(900)
PATIENCE = 400
SOON = 60
"""Seconds in which all nodes end when one does; measured: 2 to 12 on an idle machine."""
TRAIN = ("--start-at=train", "--stop-after=train", f"--run-uid={UID}", "--namespace=speech")
DROPOUT = {"encoder_conf": {"dropout_rate": 0.1, "output_size": 128, "linear_units": 512}}


@dataclass
class Gang:
    """A project in which Prepare is done, and where its output lies."""

    project: Project
    run: Path
    output: Path
    environment: dict[str, str]
    pods: list[Pod] = field(default_factory=list)
    """All that were ever started."""

    def start(self, attempt: int = 1) -> list[Pod]:
        nodes = self.project.spec["resources"]["nodes"]
        root = self.project.root / f"attempt-{attempt}"
        options = (*TRAIN, f"--attempt={attempt}")
        pods = start_gang(self.run, root, nodes, *options, environment=self.environment)
        self.pods += pods
        return pods

    def start_one(self, name: str, *arguments: str, **options: Any) -> Pod:
        pod = start_pod(self.run, self.project.root / name, *TRAIN, *arguments, **options)
        self.pods.append(pod)
        return pod

    def train(self, attempt: int = 1) -> None:
        pods = self.start(attempt)
        assert [pod.wait(PATIENCE) for pod in pods] == [0] * len(pods), "".join(pod.said() for pod in pods)

    def result(self) -> tuple[list[float], dict[str, torch.Tensor]]:
        """Losses of all steps, and the best checkpoint's weights."""
        stage = self.output / "stages/train"
        manifest = json.loads((stage / "manifest.json").read_text())
        lines = map(json.loads, (stage / manifest["outputs"]["history"]).read_text().splitlines())
        losses = {line["step"]: line["loss"] for line in lines if line["event"] == "TrainStep"}
        weights = torch.load(stage / manifest["outputs"]["model"], weights_only=True)
        return [losses[step] for step in sorted(losses)], weights

    def until_checkpoint(self, pods: list[Pod], step: int = 3) -> None:
        """Until the output holds a checkpoint of this step or a later one."""
        deadline = time.monotonic() + PATIENCE
        while not any(
            int(path.parent.name[5:]) >= step
            for path in self.output.glob("stages/train/checkpoints/step-*/manifest.json")
        ):
            for pod in pods:
                assert pod.process.poll() is None, (pod.wait(), pod.said())
            assert time.monotonic() < deadline
            time.sleep(0.05)


def make_gang(root: Path, *, nodes: int, processes: int, s3=None, epochs: int = 6) -> Gang:
    """A prepared project; `s3`: server and bucket for all that it reads and writes."""
    project = make_project(root, chain=("Prepare", "Train"), model_changes=DROPOUT)
    project.stage("train").update(epochs=epochs, validation={"decodeUtterances": 0})
    project.spec["resources"] = {"nodes": nodes, "processesPerNode": processes}
    output, environment = project.output, {}
    if s3 is not None:
        server, bucket = s3
        environment = put_on_s3(project, server, bucket)
        output = server.directory / bucket / "runs/one"
    project.write()
    run = write_run(project)
    prepare = start_pod(run, root / "prepare", "--stop-after=prepare", *TRAIN[2:], environment=environment)
    assert prepare.wait() == 0, prepare.said()
    return Gang(project, run, output, environment)


@contextmanager
def gangs() -> Iterator[Any]:
    """`make_gang`, whose pods are gone at the end whatever happens."""
    made: list[Gang] = []

    def make(*arguments: Any, **options: Any) -> Gang:
        made.append(make_gang(*arguments, **options))
        return made[-1]

    try:
        yield make
    finally:
        for pod in (pod for gang in made for pod in gang.pods):
            if pod.process.poll() is None:
                pod.kill()


@pytest.fixture
def make():
    with gangs() as make:
        yield make


def assert_same(gang: Gang, other: Gang) -> None:
    losses, weights = gang.result()
    expected, theirs = other.result()
    assert losses == expected
    assert weights.keys() == theirs.keys()
    assert all(torch.equal(weights[name], theirs[name]) for name in weights)


@pytest.fixture(scope="module")
def one_node(tmp_path_factory):
    """What one node with two processes comes to."""
    with gangs() as make:
        gang = make(tmp_path_factory.mktemp("one-node"), nodes=1, processes=2)
        gang.train()
        yield gang


def reasons(pods: list[Pod]) -> list[str]:
    return [pod.message.reason for pod in pods]


@pytest.mark.s3
def test_asked_to_stop_on_s3_it_goes_on_elsewhere_as_if_nothing_had_been(
    make, tmp_path, s3_server, bucket, one_node
):
    gang = make(tmp_path, nodes=2, processes=1, s3=(s3_server, bucket))
    pods = gang.start()
    gang.until_checkpoint(pods)
    pods[1].terminate()
    asked = time.monotonic()
    assert [pod.wait(SOON) for pod in pods] == [75, 75], "".join(pod.said() for pod in pods)
    print(f"all ended {time.monotonic() - asked:.1f} s after SIGTERM to node 1")
    assert reasons(pods) == ["Interrupted", "Interrupted"]
    said = pods[0].message
    assert "a checkpoint is saved" in said.message
    assert said.checkpoint is not None
    assert said.checkpoint.step == said.step
    assert (gang.output / f"stages/train/checkpoints/step-{said.step}/manifest.json").exists()
    assert pods[1].message.results == {}
    shutil.rmtree(tmp_path / "attempt-1")  # the machines are gone
    gang.train(attempt=2)
    assert_same(gang, one_node)


def test_a_node_that_is_killed_ends_all_and_they_go_on_as_if_nothing_had_been(make, tmp_path, one_node):
    gang = make(tmp_path, nodes=2, processes=1)
    pods = gang.start()
    gang.until_checkpoint(pods)
    pods[1].kill()
    killed = time.monotonic()
    assert pods[0].wait(SOON) == 75, pods[0].said()
    print(f"node 0 ended {time.monotonic() - killed:.1f} s after SIGKILL to node 1")
    assert pods[0].message.reason == "PeerLost"
    assert "node 1 of the gang is gone" in pods[0].message.message
    assert pods[0].message.checkpoint is not None
    gang.train(attempt=2)
    assert_same(gang, one_node)
    assert_left_alone(gang, attempt=3)


def assert_left_alone(gang: Gang, attempt: int) -> None:
    """A training that is finished is not done again by any node."""
    before = (gang.output / "stages/train/manifest.json").read_bytes()
    pods = gang.start(attempt)
    assert [pod.wait(PATIENCE) for pod in pods] == [0, 0], "".join(pod.said() for pod in pods)
    assert "unchanged, skipped" in pods[1].said()
    assert (gang.output / "stages/train/manifest.json").read_bytes() == before
    assert pods[0].message.results["train/state"] == "Skipped"


@pytest.mark.s3
def test_a_node_without_access_says_so_and_the_other_points_at_it(make, tmp_path, s3_server, bucket):
    gang = make(tmp_path, nodes=2, processes=1, s3=(s3_server, bucket))
    place = f"--rendezvous=127.0.0.1:{free_port()}"
    wrong = {**gang.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    pods = [
        gang.start_one(
            f"node-{rank}", place, f"--node-rank={rank}", environment=wrong if rank else gang.environment
        )
        for rank in range(2)
    ]
    assert [pod.wait(SOON) for pod in pods] == [75, 69], "".join(pod.said() for pod in pods)
    assert pods[0].message.reason == "PeerFailed"
    assert pods[1].message.message in pods[0].message.message


@pytest.mark.parametrize("rank", [0, 1])
def test_a_node_that_stays_alone_gives_up_or_stops_at_once(make, tmp_path, rank):
    gang = make(tmp_path, nodes=2, processes=1)
    place = ("--rendezvous=127.0.0.1:9", "--node-rank=1") if rank else ("--rendezvous=127.0.0.1:0",)
    alone = gang.start_one("alone", *place, "--rendezvous-timeout=1")
    assert alone.wait(SOON) == 69, alone.said()
    assert alone.message.reason == "RendezvousTimeout"
    waiting = gang.start_one("waiting", "--attempt=2", *place, serve=rank == 0)
    deadline = time.monotonic() + SOON
    if rank == 0:
        while not _waits(waiting):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert waiting.progress().waiting_message == "for 1 of 2 nodes: node 1"
    else:
        time.sleep(10)
    waiting.terminate()
    assert waiting.wait(SOON) == 75, waiting.said()
    assert waiting.message.reason == "Interrupted"


def _waits(pod: Pod) -> bool:
    try:
        return pod.progress().waiting_for == "Rendezvous"
    except OSError:
        return False


@pytest.mark.soak
@pytest.mark.parametrize("place", ["shared directory", "s3"])
def test_two_nodes_of_two_processes_are_as_good_as_one_of_four(make, tmp_path, place, s3_server, bucket):
    one = make(tmp_path / "one", nodes=1, processes=4)
    one.train()
    two = make(tmp_path / "two", nodes=2, processes=2, s3=(s3_server, bucket) if place == "s3" else None)
    two.train()
    assert_same(two, one)


@pytest.mark.soak
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("what", ["terminate", "kill"])
def test_disturbed_at_any_node_it_comes_to_the_same_end(make, tmp_path, s3_server, bucket, target, what):
    one = make(tmp_path / "one", nodes=1, processes=4)
    one.train()
    two = make(tmp_path / "two", nodes=2, processes=2, s3=(s3_server, bucket))
    pods = two.start()
    two.until_checkpoint(pods)
    getattr(pods[target], what)()
    started = time.monotonic()
    ends = [pod.wait(SOON) for pod in pods if what == "terminate" or pod is not pods[target]]
    print(f"all ended {time.monotonic() - started:.1f} s after {what} of node {target}")
    assert set(ends) == {75}, "".join(pod.said() for pod in pods)
    two.train(attempt=2)
    assert_same(two, one)


@pytest.mark.soak
def test_a_node_that_is_cut_off_is_missed_and_ends_too(make, tmp_path):
    gang = make(tmp_path, nodes=2, processes=1, epochs=1000)
    with two_machines() as machines:
        place = f"--rendezvous={machines[0].address}:29500"
        pods = [
            gang.start_one(
                f"node-{rank}",
                place,
                f"--node-rank={rank}",
                environment={"GLOO_SOCKET_IFNAME": machine.interface},
                command=(*machine.prefix, sys.executable, "-c", PROGRAM),
            )
            for rank, machine in enumerate(machines)
        ]
        gang.until_checkpoint(pods)
        machines[1].unplug()
        cut = time.monotonic()
        assert [pod.wait(SOON + 30) for pod in pods] == [75, 75], "".join(pod.said() for pod in pods)
        print(f"all ended {time.monotonic() - cut:.1f} s after node 1 was cut off")
    assert reasons(pods) == ["PeerLost", "PeerLost"]


@pytest.mark.soak
@pytest.mark.parametrize("target", [0, 1])
def test_a_process_that_somebody_kills_is_told_by_its_node(make, tmp_path, target):
    gang = make(tmp_path, nodes=2, processes=2, epochs=1000)
    pods = gang.start()
    gang.until_checkpoint(pods)
    worker = next(
        pid
        for pid in descendants(pods[target].process.pid)
        if b"asrtune_trainer.train.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    )
    os.kill(worker, signal.SIGKILL)
    killed = time.monotonic()
    ends = [pod.wait(SOON) for pod in pods]
    print(f"all ended {time.monotonic() - killed:.1f} s after a process of node {target} was killed")
    expected = [75, 75]
    expected[target] = 70
    assert ends == expected, "".join(pod.said() for pod in pods)
    assert pods[1 - target].message.reason == "PeerFailed"
    assert "killed from outside (SIGKILL), and not for want of memory" in pods[1 - target].message.message
