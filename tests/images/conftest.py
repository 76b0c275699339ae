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
from tools.archives import Images, built
from tools.on_nodes import Workplace, runtime
from tools.operator_pod import SYSTEM, OperatorPod


@pytest.fixture(scope="session")
def images() -> Images:
    return Images(built("operator"), built("trainer"))


@pytest.fixture(scope="session")
def cluster(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node with two fake GPUs and both images (a second one would cost another 11 GB of disk)."""
    plane = ControlPlane(tmp_path_factory.mktemp("cluster"), HOST)
    nodes = Nodes(plane)
    try:
        plane.start()
        nodes.start(1, gpus=2)
        for archive in (images.operator, images.trainer):
            started = time.monotonic()
            nodes.load(archive.path, 1)
            print(f"{archive.image} loaded in {time.monotonic() - started:.0f} s")
        found = Cluster(plane)
        found.install_crds()
        yield found
    finally:
        nodes.close()
        plane.close()
        shutil.rmtree(plane.root / "nodes", ignore_errors=True)  # gigabytes, that pytest would keep


@pytest.fixture(scope="session")
def operator(cluster: Cluster, images: Images) -> OperatorPod:
    """In its pod, with the rights that are shipped."""
    found = OperatorPod(cluster, images.operator.image, images.trainer.image)
    started = time.monotonic()
    found.start()
    print(f"operator ready {time.monotonic() - started:.1f} s after kubectl apply, in {SYSTEM}")
    return found


@pytest.fixture(scope="session")
def workplace(
    cluster: Cluster, operator: OperatorPod, images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """A restricted namespace with a tiny project; its pods take the operator's image, and that image's user."""
    assert operator.pods()
    settings = runtime()
    del settings["spec"]["image"], settings["spec"]["pod"]["runAsUser"]
    cluster.api.apply(settings)
    directory: Path = tmp_path_factory.mktemp("project")
    return Workplace(cluster, directory, programs=(), user=images.trainer.user)
