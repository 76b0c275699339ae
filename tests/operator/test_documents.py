"""What README and the cluster's start page tell people to type: real kubectl, real Helm; fake nodes run the pods."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.binaries import find
from cluster.cluster import Cluster, run_cluster
from cluster.operator import ACCOUNT, SYSTEM, Operator
from cluster.waiting import wait_for
from tools.documents import ROOT, file_of, perform, told

PAGE = "docs/start-cluster.md"
NAMESPACE = "speech"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of its own, without our kinds: the page installs them."""
    with run_cluster(tmp_path_factory.mktemp("documents"), kinds=False) as cluster:
        yield cluster


def machine(cluster: Cluster, directory: Path, page: str) -> dict[str, str]:
    """A directory and an environment such as the page's reader has."""
    (directory / "charts").symlink_to(ROOT / "charts")
    (directory / "finetune.yaml").write_text(file_of(page, "finetune.yaml"))
    programs = directory / "bin"
    programs.mkdir()
    (programs / "kubectl").symlink_to(find("kube", "kubectl"))
    (programs / "helm").symlink_to(find("helm", "helm"))
    (programs / "kubectl-asrtune").symlink_to(ROOT / ".venv/bin/kubectl-asrtune")
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "KUBECONFIG": str(cluster.kubeconfig),
        "HOME": str(directory),
        "LANG": "C.UTF-8",
    }


def operate(cluster: Cluster) -> None:
    """The chart's operator: its pod is a fake, so a process does its work, as its ServiceAccount."""
    runtime = {"spec": {"pod": {"annotations": {"fake/run-for": "300ms"}}}}
    cluster.api.patch("clusterasrruntimes", "default", runtime)
    operator = Operator(cluster)
    operator.kubeconfig = cluster.plane.as_service_account(SYSTEM, ACCOUNT)
    operator.start()


def test_the_start_page_from_install_to_uninstall(cluster: Cluster, tmp_path: Path) -> None:
    environment = machine(cluster, tmp_path, PAGE)
    commands = told(PAGE, "cluster")
    assert len(commands) >= 5
    for block in commands:
        said = perform(block, tmp_path, environment)
        if block.about.startswith("cluster install"):
            assert "successfully rolled out" in said
            operate(cluster)
        if "--summary" in block.text:
            assert "speech/my-calls: Succeeded" in said
    assert cluster.api.find("asrfinetunes", "my-calls", NAMESPACE) is None
    wait_for(
        lambda: cluster.api.find("deployments", "asrtune-operator", SYSTEM) is None, what="the uninstallation"
    )


def test_readme(cluster: Cluster, tmp_path: Path) -> None:
    """Its file stands for the one with s3:// URIs that it speaks of: the start page's."""
    cluster.install_crds()
    if cluster.api.find("namespaces", NAMESPACE) is None:
        cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    environment = machine(cluster, tmp_path, PAGE)
    own = yaml.safe_load(cluster.kubeconfig.read_text())
    own["contexts"][0]["context"]["namespace"] = NAMESPACE
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(own))
    [block] = told("README.md", "cluster")
    said = perform(block, tmp_path, environment | {"KUBECONFIG": str(tmp_path / "kubeconfig")})
    assert "ASRFinetune speech/my-calls" in said
