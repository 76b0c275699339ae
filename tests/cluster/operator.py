"""Our operator as a real process under its own ServiceAccount, with the rights that we ship."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import yaml

from cluster.cluster import Cluster
from cluster.process import Process
from cluster.waiting import wait_for
from tools.ports import free_port

ROOT = Path(__file__).parents[2]
SYSTEM = "asrtune-system"
ACCOUNT = "asrtune-operator"


class Operator:
    """Starts it, and asks its HTTP server.

    Attributes:
        name: of the process.
        port: of /metrics and /healthz.
    """

    def __init__(self, cluster: Cluster, *, name: str = "operator", options: Sequence[str] = ()) -> None:
        self.cluster = cluster
        self.name = name
        self.port = free_port()
        self.options = list(options)
        self.kubeconfig: Path | None = None

    def start(self) -> Process:
        """Installs the rights, starts the process, and returns when everything is listed and watched."""
        if self.kubeconfig is None:
            install_rights(self.cluster)
            self.kubeconfig = self.cluster.plane.as_service_account(SYSTEM, ACCOUNT)
        process = self.cluster.processes.start(self.name, self.command, {})
        self.cluster.processes.wait_until_ready(self.name, lambda: self.leading)
        return process

    @property
    def command(self) -> list[str | Path]:
        """How it is started."""
        assert self.kubeconfig is not None
        return [
            *(ROOT / ".venv/bin/asrtune-operator", "run", "--kubeconfig", self.kubeconfig),
            *("--listen", "127.0.0.1", "--port", str(self.port), "--lease-seconds", "3"),
            *self.options,
        ]

    @property
    def leading(self) -> bool:
        """Whether it works, rather than waiting for another replica."""
        text = self.get("/healthz")[1]
        return self.get("/readyz")[0] == 200 and "leading: true" in text

    def get(self, path: str) -> tuple[int, str]:
        """Status and text; status 0 where nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_healthy(self, timeout: float = 30) -> None:
        wait_for(lambda: self.get("/healthz")[0] == 200, timeout=timeout, what="the operator's health")


def install_rights(cluster: Cluster) -> None:
    """The ServiceAccount and the roles that are shipped."""
    if cluster.api.find("namespaces", SYSTEM) is None:
        cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    cluster.api.apply(yaml.safe_load_all((ROOT / "operator/rbac/cluster.yaml").read_text()))
