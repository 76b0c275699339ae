"""A real node that has the built images, and nothing of this machine but what pods of any cluster have."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.control_plane import ControlPlane
from cluster.nodes import HOST, Nodes
from tools.archives import Archive, built
from tools.on_nodes import Workplace, runtime
from tools.operator_pod import SYSTEM, OperatorPod


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Nodes]]:
    """One node with two fake GPUs (each further one would cost another 11 GB of disk)."""
    plane = ControlPlane(tmp_path_factory.mktemp("cluster"), HOST)
    nodes = Nodes(plane)
    try:
        plane.start()
        nodes.start(1, gpus=2)
        found = Cluster(plane)
        found.install_crds()
        yield found, nodes
    finally:
        nodes.close()
        plane.close()
        shutil.rmtree(plane.root / "nodes", ignore_errors=True)  # gigabytes, that pytest would keep


@pytest.fixture(scope="session")
def cluster(node: tuple[Cluster, Nodes]) -> Cluster:
    return node[0]


@pytest.fixture(scope="session")
def trainer_image(node: tuple[Cluster, Nodes]) -> Archive:
    """On the node."""
    return loaded(node[1], "trainer")


@pytest.fixture(scope="session")
def operator(node: tuple[Cluster, Nodes]) -> OperatorPod:
    """In its pod, with the rights that are shipped; pods that it makes have the trainer's image."""
    image = loaded(node[1], "operator").image
    found = OperatorPod(node[0], image, image.replace("operator", "trainer"))
    started = time.monotonic()
    found.start()
    print(f"\noperator ready {time.monotonic() - started:.1f} s after kubectl apply, in {SYSTEM}")
    return found


@pytest.fixture(scope="session")
def workplace(
    cluster: Cluster, operator: OperatorPod, trainer_image: Archive, tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """A restricted namespace with a tiny project; its pods take the operator's image, and that image's user."""
    assert operator.trainer == trainer_image.image
    settings = runtime()
    del settings["spec"]["image"], settings["spec"]["pod"]["runAsUser"]
    cluster.api.apply(settings)
    directory: Path = tmp_path_factory.mktemp("project")
    return Workplace(cluster, directory, programs=(), user=trainer_image.user)


def loaded(nodes: Nodes, name: str) -> Archive:
    """An image, on the node."""
    archive = built(name)
    started = time.monotonic()
    nodes.load(archive.path, 1)
    print(f"\n{archive.image} loaded in {time.monotonic() - started:.0f} s")
    return archive
