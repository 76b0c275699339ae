"""The operator as the chart's Deployment starts it, on this machine instead of in a pod."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.operator import ROOT, Operator
from tools.helm import SYSTEM
from tools.ports import lasting_port

DEPLOYMENT = "asrtune-operator"
BRIEF = ("--set", r"runtime.spec.pod.annotations.fake/run-for=300ms")
"""kwok ends the runs' pods after that time."""


def reachable() -> list[str]:
    """Values that let the operator listen where a test can ask it."""
    quick = {"discoverySeconds": 1, "progressSeconds": 1, "statusSeconds": 1, "leaseSeconds": 3}
    settings = {"listen": "127.0.0.1", "port": lasting_port(), **quick}
    return [word for name, value in settings.items() for word in ("--set", f"settings.{name}={value}")]


class ChartedOperator(Operator):
    """One replica of an installed release: exactly the arguments of its pod, and a kubeconfig with its account's token.

    A process outside has no ServiceAccount mounted; nothing else differs.
    """

    def __init__(self, cluster: Cluster, namespace: str = SYSTEM) -> None:
        super().__init__(cluster, name=f"operator-of-{namespace}")
        pod = pods_of(cluster, namespace)[0]
        (container,) = pod["spec"]["containers"]
        name = pod["metadata"]["name"]
        self.arguments: Sequence[str] = [one.replace("$(POD_NAME)", name) for one in container["args"]]
        self.port = int(next(one for one in self.arguments if one.startswith("--port=")).partition("=")[2])
        self.kubeconfig: Path | None = cluster.plane.as_service_account(
            namespace, pod["spec"]["serviceAccountName"]
        )
        self.program = container["command"]

    @property
    def command(self) -> list[str | Path]:
        assert self.kubeconfig is not None
        (program,) = self.program
        return [ROOT / ".venv/bin" / program, *self.arguments, "--kubeconfig", self.kubeconfig]


def pods_of(cluster: Cluster, namespace: str = SYSTEM) -> list[Json]:
    """The operator's pods that are not being deleted."""
    found = cluster.api.list("pods", namespace, labels="app.kubernetes.io/component=operator")
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]
