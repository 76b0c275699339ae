"""training-operator, JobSet, Trainer and Kueue as processes, with their own RBAC and served webhooks."""

from __future__ import annotations

import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cluster.binaries import MANIFESTS, find
from cluster.control_plane import ControlPlane
from cluster.manifests import adapted, webhook_urls
from cluster.process import Process
from tools.ports import free_port

# training-operator looks whether its certificate lies here, whatever it is told, and takes it from $TMPDIR.
_HARD_CODED = Path("/tmp/k8s-webhook-server/serving-certs/tls.crt")
_UNCHECKED = ssl._create_unverified_context()
_HOSTS = ("training-operator.kubeflow.svc", "kueue-webhook-service.kueue-system.svc")


@dataclass(frozen=True)
class Ports:
    """Where a controller listens on 127.0.0.1."""

    webhooks: int
    probes: int

    @property
    def probe_address(self) -> str:
        return f"127.0.0.1:{self.probes}"


@dataclass(frozen=True)
class Controller:
    """What is special about a controller.

    Attributes:
        binary: its program.
        account: its service account, NAMESPACE:NAME.
        arguments: what it is started with, besides kubeconfig and configuration.
        configuration: its configuration file, None where it takes none; given where its certificates lie.
        needs: controllers that run before it.
        unused: plurals that are left out, because nothing is started for them.
        afterwards: more manifests, applied when it runs.
    """

    binary: str
    account: str
    arguments: Callable[[Ports], list[str]] = lambda _: []
    configuration: Callable[[Ports, Path], dict[str, Any]] | None = None
    needs: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()


def _training_operator(ports: Ports) -> list[str]:
    return [
        f"--webhook-server-port={ports.webhooks}",
        f"--health-probe-bind-address={ports.probe_address}",
        *("--metrics-bind-address=0", "--enable-scheme=pytorchjob"),
        *("--kube-api-qps=100", "--kube-api-burst=200", "--zap-log-level=info"),
    ]


def _base(api_version: str, ports: Ports) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "webhook": {"port": ports.webhooks},
        "health": {"healthProbeBindAddress": ports.probe_address},
        "metrics": {"bindAddress": "0"},
        "clientConnection": {"qps": 200, "burst": 400},
    }


def _jobset(ports: Ports, _: Path) -> dict[str, Any]:
    return _base("config.jobset.x-k8s.io/v1alpha1", ports) | {"internalCertManagement": {"enable": False}}


def _trainer(ports: Ports, _: Path) -> dict[str, Any]:
    webhook = {"port": ports.webhooks, "host": "127.0.0.1"}  # 2.1.0 crashes on a port without a host
    return _base("config.trainer.kubeflow.org/v1alpha1", ports) | {
        "certManagement": {"enable": False},
        "webhook": webhook,
    }


def _kueue(ports: Ports, certificates: Path) -> dict[str, Any]:
    frameworks = [
        "batch/job",
        "jobset.x-k8s.io/jobset",
        "kubeflow.org/pytorchjob",
        "trainer.kubeflow.org/trainjob",
    ]
    return _base("config.kueue.x-k8s.io/v1beta2", ports) | {
        # Without it it wants certificates for its metrics; it finds ours in the Secret and keeps them.
        "internalCertManagement": {"enable": True},
        "webhook": {"port": ports.webhooks, "certDir": str(certificates)},
        "featureGates": {"VisibilityOnDemand": False},  # an aggregated API server
        "integrations": {"frameworks": frameworks},
    }


CONTROLLERS = {
    "training-operator": Controller(
        "training-operator.v1",
        "kubeflow:training-operator",
        _training_operator,
        unused=("mpijobs", "tfjobs", "xgboostjobs", "paddlejobs", "jaxjobs"),
    ),
    "jobset": Controller(
        "jobset",
        "jobset-system:jobset-controller-manager",
        lambda _: ["--zap-log-level=info"],
        _jobset,
    ),
    "trainer": Controller(
        "trainer-controller-manager",
        "kubeflow-system:kubeflow-trainer-controller-manager",
        configuration=_trainer,
        needs=("jobset",),
        afterwards=("trainer-torch-runtime.yaml",),
    ),
    "kueue": Controller(
        "kueue",
        "kueue-system:kueue-controller-manager",
        lambda _: ["--zap-log-level=info"],
        _kueue,
    ),
}


class Controllers:
    """The controllers of one control plane, started on demand."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        # controller-runtime's own place, below $TMPDIR
        self._certificates = plane.root / "run" / "k8s-webhook-server" / "serving-certs"
        self._serving = plane.authority.issue("webhook", user="webhook", hosts=_HOSTS)
        self._answers: dict[str, Callable[[], bool]] = {}

    def start(self, *names: str) -> None:
        """Starts those that do not run yet, and what they need; returns when they are ready (2 to 5 s each)."""
        for name in names:
            self.start(*CONTROLLERS[name].needs)
            if name not in self._answers:
                self._install_and_start(name)

    def restart(self, name: str) -> Process:
        """Kills one, starts it again, and waits until it is ready."""
        process = self._plane.processes[name]
        process.kill()
        process.start()
        self._plane.processes.wait_until_ready(name, self._answers[name])
        return process

    def _install_and_start(self, name: str) -> None:
        controller = CONTROLLERS[name]
        ports = Ports(free_port(), free_port())
        webhooks = self._install(name, ports)
        self._lay_certificates()
        namespace, account = controller.account.split(":")
        command: list[str | Path] = [
            find(name, controller.binary),
            f"--kubeconfig={self._plane.as_service_account(namespace, account)}",
            *controller.arguments(ports),
        ]
        if controller.configuration:
            path = self._plane.root / f"{name}.yaml"
            path.write_text(yaml.safe_dump(controller.configuration(ports, self._certificates)))
            command.append(f"--config={path}")
        self._plane.processes.start(name, command, {"TMPDIR": str(self._plane.root / "run")})
        self._answers[name] = partial(_answers, f"http://{ports.probe_address}/readyz", webhooks)
        self._plane.processes.wait_until_ready(name, self._answers[name])
        for file in controller.afterwards:
            self._plane.api.apply(yaml.safe_load(find(name, f"{MANIFESTS}/{file}").read_text()))

    def _install(self, name: str, ports: Ports) -> list[str]:
        """Applies a controller's objects and returns the URLs of its webhooks."""
        documents = adapted(
            find(name, f"{MANIFESTS}/{name}.yaml"),
            port=ports.webhooks,
            authority=self._plane.authority.pair,
            serving=self._serving,
            unused=CONTROLLERS[name].unused,
        )
        for document in documents:
            self._plane.api.create(document)  # server-side apply of such large CRDs takes twice as long
        for document in documents:
            if document["kind"] == "CustomResourceDefinition":  # Trainer ends if its own are not served yet
                self._plane.wait_until_served(document["metadata"]["name"])
        return webhook_urls(documents)

    def _lay_certificates(self) -> None:
        """Once only: the controllers watch these files."""
        if not self._certificates.exists():
            self._certificates.mkdir(parents=True)
            shutil.copy(self._serving.certificate, self._certificates / "tls.crt")
            shutil.copy(self._serving.key, self._certificates / "tls.key")
        if not _HARD_CODED.exists():
            _HARD_CODED.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._serving.certificate, _HARD_CODED)


def _answers(probe: str, webhooks: list[str]) -> bool:
    """Whether it is ready and serves each webhook: JobSet says that it is ready before it does."""
    return _status(probe) == 200 and all(_status(url) not in {0, 404} for url in webhooks)


def _status(url: str) -> int:
    """The HTTP status of a GET, 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=_UNCHECKED) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
