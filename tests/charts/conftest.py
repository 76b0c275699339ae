"""Helm, and what the charts come to."""

from __future__ import annotations

import pytest

from cluster.cluster import Cluster
from tools.helm import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A new namespace's name."""
    return cluster.new_namespace()
