"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback, without root."""

from __future__ import annotations

import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from cluster.access import Access
from cluster.binaries import find
from cluster.client import Client
from cluster.pki import Authority, Pair
from cluster.process import Process, Processes
from tools.ports import free_port

_SERVICES = "10.96.0.0/16"
_NAMES = ("10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True)
class Ports:
    """Where the parts listen on 127.0.0.1."""

    apiserver: int = field(default_factory=free_port)
    etcd: int = field(default_factory=free_port)
    etcd_peer: int = field(default_factory=free_port)
    controller_manager: int = field(default_factory=free_port)
    scheduler: int = field(default_factory=free_port)


class ControlPlane:
    """A control plane whose files all lie in one directory.

    Attributes:
        root: that directory.
        processes: its processes, by `etcd`, `apiserver`, `controller-manager`, `scheduler`; others may join.
        authority: signs the cluster's certificates.
        access: the administrator's way in.
        kubeconfig: the same as a file.
        api: the same as a client.
    """

    def __init__(self, root: Path, address: str | None = None) -> None:
        """Nothing runs yet.

        Args:
            root: an empty directory.
            address: of the API server for real nodes; without it, it listens on loopback alone.
        """
        self.root = root
        self.address = address
        self.ports = Ports()
        (root / "run").mkdir(parents=True, exist_ok=True)
        self.authority = Authority(root / "pki")
        admin = self.authority.issue("admin", user="admin", group="system:masters")
        self.access = self.access_of(admin)
        self.kubeconfig = self.access.write_kubeconfig(root / "admin.kubeconfig")
        self.api = Client(self.access)
        self.processes = Processes(root / "log")

    def access_of(self, identity: Pair | str, host: str = "127.0.0.1") -> Access:
        """The way in for a certificate or a token, by one of the API server's addresses."""
        server = f"https://{host}:{self.ports.apiserver}"
        return Access(server, self.authority.pair.certificate, identity)

    def start(self) -> None:
        """Returns when pods can be created and are scheduled (about 4 s)."""
        accounts = self.authority.signing_key("sa")
        self.processes.start("etcd", self._etcd())
        self.processes.start("apiserver", self._apiserver(accounts))
        self.processes.start("controller-manager", self._controller_manager(accounts))
        self.processes.start("scheduler", self._scheduler())
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Returns when all four answer, as after a restart."""
        wait = self.processes.wait_until_ready
        wait("apiserver", self.api.ready)
        # Until then every pod is refused.
        wait("controller-manager", lambda: self.api.find("serviceaccounts", "default") is not None)
        wait("scheduler", lambda: _healthy(self.ports.scheduler))

    def restart(self, name: str, *, kill: bool = False) -> Process:
        """Ends a process (SIGKILL if asked), starts it again with the same data, and waits until all answer."""
        process = self.processes[name]
        if kill:
            process.kill()
        else:
            process.stop()
        process.start()
        self.wait_until_ready()
        return process

    def wait_until_served(self, crd: str) -> None:
        """Returns when objects of a CustomResourceDefinition, by its name, can be created."""
        self.api.wait(
            "customresourcedefinitions",
            crd,
            lambda one: self.api.condition(one, "Established").get("status") == "True",
        )

    def service_account(self, namespace: str, name: str, *, hours: int = 24) -> Access:
        """A service account's way in, by a real token: RBAC counts, also for clients that cannot impersonate."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        status, answer = self.api.request("POST", path, {**body, "spec": {"expirationSeconds": hours * 3600}})
        assert status == 201, answer
        return self.access_of(answer["status"]["token"])

    def as_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig for a service account that exists."""
        path = self.root / f"{namespace}.{name}.kubeconfig"
        return self.service_account(namespace, name).write_kubeconfig(path)

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, kubeconfig: Path | None = None
    ) -> str:
        """The output of kubectl as the administrator.

        Raises:
            AssertionError: kubectl fails; with what it said.
        """
        command = [find("kube", "kubectl"), "--kubeconfig", kubeconfig or self.kubeconfig, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        """Ends everything; the logs stay."""
        self.processes.close()

    def _etcd(self) -> list[str | Path]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.ports.etcd, self.ports.etcd_peer))
        return [
            *(
                find("etcd", "etcd"),
                "--data-dir",
                self.root / "etcd",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ),
            *("--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer),
            "--auto-compaction-retention=0",
        ]

    def _apiserver(self, accounts: Path) -> list[str | Path]:
        authority = self.authority.pair.certificate
        hosts = (*_NAMES, self.address) if self.address else _NAMES
        serving = self.authority.issue("apiserver", user="kube-apiserver", hosts=hosts)
        assert isinstance(self.access.identity, Pair)
        return [
            *(find("kube", "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{self.ports.etcd}"),
            f"--secure-port={self.ports.apiserver}",
            f"--bind-address={'0.0.0.0' if self.address else '127.0.0.1'}",
            *("--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"),
            *(f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}"),
            *(f"--client-ca-file={authority}", f"--cert-dir={self.root / 'run'}"),
            f"--kubelet-client-certificate={self.access.identity.certificate}",
            f"--kubelet-client-key={self.access.identity.key}",
            f"--kubelet-certificate-authority={authority}",
            "--kubelet-preferred-address-types=InternalIP",
            *(f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={accounts}"),
            "--service-account-issuer=https://kubernetes.default.svc",
            *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"),
            *(f"--service-cluster-ip-range={_SERVICES}", "--allow-privileged=true"),
            "--enable-priority-and-fairness=false",
        ]

    def _controller_manager(self, accounts: Path) -> list[str | Path]:
        return [
            *(
                find("kube", "kube-controller-manager"),
                f"--kubeconfig={self._component('controller-manager')}",
            ),
            *(f"--service-account-private-key-file={accounts}", "--use-service-account-credentials=true"),
            f"--root-ca-file={self.authority.pair.certificate}",
            *("--bind-address=127.0.0.1", f"--secure-port={self.ports.controller_manager}"),
            *(f"--cert-dir={self.root / 'run'}", "--leader-elect=false"),
            *("--kube-api-qps=200", "--kube-api-burst=400", "--concurrent-job-syncs=10"),
            *("--node-monitor-period=2s", "--node-monitor-grace-period=16s"),  # a lost node shows within 18 s
        ]

    def _scheduler(self) -> list[str | Path]:
        return [
            *(find("kube", "kube-scheduler"), f"--kubeconfig={self._component('scheduler')}"),
            *("--bind-address=127.0.0.1", f"--secure-port={self.ports.scheduler}"),
            *(f"--cert-dir={self.root / 'run'}", "--leader-elect=false"),
            *("--kube-api-qps=500", "--kube-api-burst=1000"),
        ]

    def _component(self, name: str) -> Path:
        pair = self.authority.issue(name, user=f"system:kube-{name}")
        return self.access_of(pair).write_kubeconfig(self.root / f"{name}.kubeconfig")


def _healthy(port: int) -> bool:
    unchecked = ssl._create_unverified_context()  # the part signs its own certificate
    try:
        with urllib.request.urlopen(
            f"https://127.0.0.1:{port}/healthz", context=unchecked, timeout=5
        ) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
