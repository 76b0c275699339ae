"""A whole cluster for tests: control plane, fake nodes, our CRDs, and the controllers asked for."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asrtune_api import crd
from cluster.client import Client
from cluster.control_plane import ControlPlane
from cluster.controllers import Controllers
from cluster.kubelet import Kubelet
from cluster.kwok import Kwok
from cluster.process import Processes


class Cluster:
    """A running cluster.

    Attributes:
        plane: its control plane: kubectl, restarts, service accounts.
        api: the administrator's client.
        kwok: its fake nodes.
        kubelet: what a test says in their place.
        controllers: training-operator, jobset, trainer, kueue, on demand.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.api: Client = plane.api
        self.kwok = Kwok(plane)
        self.kubelet = Kubelet(plane.api)
        self.controllers = Controllers(plane)
        self._namespaces = itertools.count()

    @property
    def processes(self) -> Processes:
        return self.plane.processes

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.plane.kubeconfig

    def new_namespace(self, prefix: str = "test", labels: dict[str, str] | None = None) -> str:
        """A namespace that nobody uses; returns when pods can be created in it."""
        name = f"{prefix}-{next(self._namespaces)}"
        self.api.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
        )
        self.api.wait("serviceaccounts", "default", bool, name)
        return name

    def install_crds(self, definitions: Iterable[dict[str, object]] | None = None) -> None:
        """Installs CRDs, ours where none are given, and returns when they are served."""
        documents = [crd.definition(kind) for kind in crd.KINDS] if definitions is None else definitions
        for document in self.api.apply(documents):
            self.plane.wait_until_served(document["metadata"]["name"])


@contextmanager
def run_cluster(root: Path, *, nodes: int = 4, gpus: int = 8, kinds: bool = True) -> Iterator[Cluster]:
    """A cluster with its files in an empty directory; it ends with the block, the logs stay (root/log).

    Args:
        root: the directory.
        nodes: how many fake nodes; none where 0.
        gpus: of each node.
        kinds: whether it knows ours.
    """
    plane = ControlPlane(root)
    try:
        plane.start()
        cluster = Cluster(plane)
        if kinds:
            cluster.install_crds()
        if nodes:
            cluster.kwok.start()
            cluster.kwok.add_nodes(nodes, gpus=gpus)
        yield cluster
    finally:
        plane.close()
        shutil.rmtree(root / "etcd", ignore_errors=True)
