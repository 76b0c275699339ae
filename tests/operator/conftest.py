"""A real cluster for the operator's tests, one for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.cluster import Cluster, run_cluster
from cluster.controllers import Controllers


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Control plane, kwok with 4 nodes of 8 GPUs, our CRDs (about 6 s)."""
    with run_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def controllers(cluster: Cluster) -> Controllers:
    """`controllers.start("jobset", "kueue")` starts those that do not run yet."""
    return cluster.controllers


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A new namespace's name."""
    return cluster.new_namespace()


@pytest.fixture(autouse=True)
def _logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shows what the cluster's processes logged during a test that failed."""
    if "cluster" not in request.fixturenames:
        yield
        return
    processes = request.getfixturevalue("cluster").processes
    before = {process.name: process.log.stat().st_size for process in processes}
    yield
    for process in processes:
        logged = process.log_since(before.get(process.name, 0), lines=15)
        if logged:
            request.node.add_report_section("teardown", f"log of {process.name}", logged)
