"""A cluster with two real nodes, and the operator as a process beside it, one for the whole session."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.control_plane import ControlPlane
from cluster.nodes import HOST, Nodes
from cluster.operator import Operator
from tools.on_nodes import SLOW, Demo, RealRun, Workplace, longer, runtime


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Nodes]]:
    """Control plane, two nodes with two fake GPUs each, our CRDs (about 10 s)."""
    plane = ControlPlane(tmp_path_factory.mktemp("cluster"), HOST)
    found = Nodes(plane)
    try:
        plane.start()
        found.start(2, gpus=2)
        cluster = Cluster(plane)
        cluster.install_crds()
        cluster.api.apply(runtime())
        yield cluster, found
    finally:
        found.close()
        plane.close()


@pytest.fixture(scope="session")
def operator(nodes: tuple[Cluster, Nodes]) -> Operator:
    """With the rights that are shipped."""
    seconds = {"progress": 1, "status": 2, "discovery": 2, "lease": 15}
    found = Operator(nodes[0], options=[f"--{name}-seconds={number}" for name, number in seconds.items()])
    found.start()
    return found


@pytest.fixture(scope="session")
def workplace(
    nodes: tuple[Cluster, Nodes], operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """A namespace with a tiny project."""
    assert operator.leading
    directory: Path = tmp_path_factory.mktemp("project")
    return Workplace(nodes[0], directory)


@pytest.fixture(scope="session")
def demo(workplace: Workplace) -> Demo:
    """Prints when what was seen, in seconds."""
    run = workplace.run("demo", longer)
    started = time.monotonic()
    seconds = {}
    run.apply()
    run.wait(lambda _: any(pod["status"]["phase"] == "Running" for pod in run.pods()), "the first pod")
    seconds["first pod"] = time.monotonic() - started
    run.wait_for_step(1)
    seconds["first step"] = time.monotonic() - started
    screen = run.plugin("status")
    run.wait_phase("Succeeded", SLOW)
    seconds["Complete"] = time.monotonic() - started
    print("from kubectl apply:", {what: round(value, 1) for what, value in seconds.items()})
    gang = [pod["spec"]["nodeName"] for pod in run.pods("train")]
    return Demo(run, screen, gang, run.plugin("logs", "--stage", "train"))


@pytest.fixture(scope="session")
def undisturbed(demo: Demo) -> RealRun:
    """A finished run of the whole chain, to compare with."""
    return demo.run
