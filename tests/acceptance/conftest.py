"""From nothing to a measured model: real nodes, the built images, the charts, an S3 server, Prometheus, and one run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from cluster.binaries import MANIFESTS, find
from cluster.client import Json
from cluster.cluster import Cluster
from cluster.control_plane import ControlPlane
from cluster.nodes import HOST, Nodes
from cluster.waiting import wait_for
from tools.accepted import Accepted, accept
from tools.archives import Archive, built
from tools.attempts import RESTRICTED
from tools.charted import install
from tools.helm import CRDS, SYSTEM, Helm
from tools.prometheus import Prometheus, endpoints_of, pods_of
from tools.steps import Steps
from tools.telephone import upload
from tools.versitygw import S3Server, run_versitygw


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--steps", type=Path, help="file that gets a line for each step and its seconds")


@pytest.fixture(scope="session")
def steps(request: pytest.FixtureRequest) -> Steps:
    return Steps(request.config.getoption("--steps"))


@pytest.fixture(scope="session")
def nodes(steps: Steps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Nodes]]:
    """Control plane and two nodes; no kinds but Kubernetes' own."""
    plane = ControlPlane(tmp_path_factory.mktemp("cluster"), HOST)
    found = Nodes(plane)
    try:
        with steps.step("control plane and two nodes"):
            plane.start()
            found.start(2)
        yield Cluster(plane), found
    finally:
        found.close()
        plane.close()
        shutil.rmtree(plane.root / "nodes", ignore_errors=True)  # gigabytes, that pytest would keep


@pytest.fixture(scope="session")
def images(nodes: tuple[Cluster, Nodes], steps: Steps) -> Mapping[str, Archive]:
    """Both, on both nodes."""
    found = {name: built(name) for name in ("operator", "trainer")}
    for name, archive in found.items():
        with steps.step(f"the {name}'s image onto the first node"):
            nodes[1].load(archive.path, 1)
    with steps.step("both images onto the second node"):
        nodes[1].copy_images(1, 2)
    return found


@pytest.fixture(scope="session")
def server(
    nodes: tuple[Cluster, Nodes], steps: Steps, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    """Where pods reach it; it has the demo's data and its base model."""
    with run_versitygw(tmp_path_factory.mktemp("s3"), host=HOST) as found:
        with steps.step("the demo's data and model into the bucket"):
            upload(found)
        yield found


@pytest.fixture(scope="session")
def cluster(
    nodes: tuple[Cluster, Nodes],
    images: Mapping[str, Archive],
    steps: Steps,
    tmp_path_factory: pytest.TempPathFactory,
) -> Cluster:
    """With both charts; of the Prometheus operator there are the kinds alone."""
    found = nodes[0]
    manifests = find("prometheus-operator", f"{MANIFESTS}/prometheus-operator.yaml").read_text()
    found.install_crds(yaml.load_all(manifests, Loader=yaml.CSafeLoader))
    home = tmp_path_factory.mktemp("helm")
    values = home / "values.yaml"
    values.write_text(yaml.safe_dump(chosen_values(found, images), sort_keys=False))
    helm = Helm(home, found.kubeconfig)
    with steps.step("both charts, until the operator is ready"):
        helm("install", "asrtune-crds", CRDS, "--namespace", SYSTEM, "--create-namespace", "--wait")
        found.api.patch("namespaces", SYSTEM, {"metadata": {"labels": RESTRICTED}})
        install(helm, "--values", values)
    return found


def chosen_values(cluster: Cluster, images: Mapping[str, Archive]) -> Json:
    """As docs/install.md has them. The nodes have no kube-proxy, so the API server's Service leads nowhere."""
    server = {
        "KUBERNETES_SERVICE_HOST": HOST,
        "KUBERNETES_SERVICE_PORT": str(cluster.plane.ports.apiserver),
    }
    watched = ("serviceMonitor", "podMonitor", "rules", "dashboards")
    return {
        "image": named(images["operator"]),
        "trainerImage": named(images["trainer"]),
        "env": [{"name": name, "value": value} for name, value in server.items()],
        "settings": {"progressSeconds": 1, "statusSeconds": 2},
        # Both nodes are this machine: a process that takes all its cores would wait for the other node's.
        "runtime": {"spec": {"pod": {"env": [{"name": "OMP_NUM_THREADS", "value": "1"}]}}},
        "monitoring": {one: {"enabled": True} for one in watched},
    }


def named(archive: Archive) -> Json:
    repository, _, tag = archive.image.rpartition(":")
    return {"repository": repository, "tag": tag}


@pytest.fixture(scope="session")
def prometheus(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Prometheus:
    """Scrapes what the installed monitors select: the operator's pods, and those of runs when there are any."""
    pods = cluster.api.get("podmonitors", "asrtune-runs", SYSTEM)
    service = cluster.api.get("servicemonitors", "asrtune-operator", SYSTEM)
    scrape = [pods_of(pods, cluster.kubeconfig), endpoints_of(service, cluster.kubeconfig)]
    found = Prometheus(cluster.processes, tmp_path_factory.mktemp("prometheus"), scrape)
    wait_for(
        lambda: [one["health"] for one in found.targets()] == ["up", "up"],
        timeout=60,
        what="both replicas of the operator to be scraped",
        state=found.targets,
    )
    return found


@pytest.fixture(scope="session")
def accepted(
    cluster: Cluster,
    server: S3Server,
    prometheus: Prometheus,
    steps: Steps,
    tmp_path_factory: pytest.TempPathFactory,
) -> Accepted:
    """The demo's run, Complete."""
    return accept(cluster, server, prometheus, steps, tmp_path_factory.mktemp("run"))
