"""Helm, what the charts come to, and a cluster to install them on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from cluster.binaries import MANIFESTS, find
from cluster.cluster import Cluster, run_cluster
from tools.attempts import RESTRICTED
from tools.helm import CRDS, SYSTEM, Helm

NAMESPACES = (SYSTEM, "speech", "calls", "monitoring")
"""Of all values of the tests."""


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With the CRDs of the Prometheus operator, and ours as kubectl applies them."""
    with run_cluster(tmp_path_factory.mktemp("charts")) as cluster:
        for name in NAMESPACES:
            cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.api.patch("namespaces", SYSTEM, {"metadata": {"labels": RESTRICTED}})
        for name in NAMESPACES:
            cluster.api.wait("serviceaccounts", "default", bool, name)
        manifests = find("prometheus-operator", f"{MANIFESTS}/prometheus-operator.yaml").read_text()
        cluster.install_crds(yaml.load_all(manifests, Loader=yaml.CSafeLoader))
        yield cluster


@pytest.fixture(scope="session")
def on(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm on that cluster; the kinds' own chart is installed over the CRDs that are there."""
    on = Helm(tmp_path_factory.mktemp("helm"), cluster.kubeconfig)
    on("install", "asrtune-crds", CRDS, "--namespace", SYSTEM, "--take-ownership", "--wait")
    return on


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A new namespace's name."""
    return cluster.new_namespace()
