"""kwok: fake nodes with fake GPUs, whose pods behave as their annotations say (kwok.yaml)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.binaries import find
from cluster.control_plane import ControlPlane
from cluster.waiting import wait_for
from tools.ports import free_port

_STAGES = Path(__file__).with_name("kwok.yaml")
GPU = "nvidia.com/gpu"


class Kwok:
    """The kwok process of a control plane, and its nodes.

    Attributes:
        cidr: where pods get their addresses; in 127.0.0.0/8, so that a test can listen on them.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._api = plane.api
        self._nodes = 0
        # Not those of another cluster on this machine, nor of what usually listens on 127.0.0.1.
        self.cidr = f"127.{random.randrange(64, 250)}.0.0/16"

    def start(self) -> None:
        """Starts the process; nodes are added apart."""
        config = self._plane.root / "kwok.yaml"
        config.write_text(_STAGES.read_text().replace("cidr: CIDR", f"cidr: {self.cidr}"))
        command: list[str | Path] = [
            *(find("kwok", "kwok"), f"--kubeconfig={self._plane.kubeconfig}", f"--config={config}"),
            *("-v=WARN", "--node-ip=127.0.0.1", f"--server-address=127.0.0.1:{free_port()}"),
        ]
        self._plane.processes.start("kwok", command)

    def add_nodes(
        self,
        count: int,
        *,
        gpus: int = 8,
        resource: str = GPU,
        cpus: int = 96,
        memory: str = "1Ti",
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
    ) -> list[str]:
        """Adds equal nodes and returns their names when all are Ready."""
        names = [f"fake-{self._nodes + number}" for number in range(count)]
        self._nodes += count
        capacity = {"cpu": str(cpus), "memory": memory, "pods": "256", "ephemeral-storage": "1Ti"}
        if gpus:
            capacity[resource] = str(gpus)
        for name in names:
            own = {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
            self._api.create(
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {"name": name, "labels": own | dict(labels or {})},
                    "spec": {"taints": list(taints)},
                    "status": {"capacity": capacity},
                }
            )
        wait_for(lambda: set(names) <= self._ready(), timeout=60, what="fake nodes", state=self._ready)
        return names

    def remove_node(self, name: str) -> None:
        """The node object disappears, as when a cloud takes the machine back; its pods are then garbage."""
        self._api.delete("nodes", name)

    def lose_node(self, name: str) -> None:
        """The node's kubelet falls silent: NotReady within 18 s, pods evicted when their toleration is over."""
        self._api.patch("nodes", name, {"metadata": {"labels": {"type": "lost"}}})

    def return_node(self, name: str) -> None:
        """The kubelet is back."""
        self._api.patch("nodes", name, {"metadata": {"labels": {"type": "kwok"}}})

    def _ready(self) -> set[str]:
        return {
            node["metadata"]["name"]
            for node in self._api.list("nodes")
            if self._api.condition(node, "Ready").get("status") == "True" and _untainted(node)
        }


def _untainted(node: Mapping[str, Any]) -> bool:
    """Whether the node lifecycle controller has seen that it is ready; until then nothing is scheduled there."""
    keys = {taint["key"] for taint in node["spec"].get("taints", [])}
    return not any(key.startswith("node.kubernetes.io/") for key in keys)
