"""The operator from its image: a Deployment under the rights that are shipped, as an administrator installs it."""

from __future__ import annotations

from typing import Final

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.nodes import HOST
from cluster.operator import ACCOUNT, SYSTEM, install_rights
from cluster.waiting import wait_for

NAME: Final = "asrtune-operator"
_LABELS: Final = {"app": NAME}
RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Of a container; no user id: the image's own counts. Nothing is mounted but the ServiceAccount's token."""


class OperatorPod:
    """Deploys it, and looks at its pod.

    Attributes:
        image: the operator's.
        trainer: image of the pods that it makes.
    """

    def __init__(self, cluster: Cluster, image: str, trainer: str) -> None:
        self._cluster = cluster
        self.image = image
        self.trainer = trainer

    def start(self) -> Json:
        """Its pod, when it is ready: it leads, and everything is listed and watched."""
        install_rights(self._cluster)
        level = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        self._cluster.api.patch("namespaces", SYSTEM, level)
        self._cluster.api.apply(self._deployment())
        return self.wait_ready()

    def wait_ready(self, other_than: str = "") -> Json:
        """The pod that is ready, with another uid than one that was."""

        def ready() -> Json | None:
            others = (pod for pod in self.pods() if pod["metadata"]["uid"] != other_than)
            condition = self._cluster.api.condition
            return next((pod for pod in others if condition(pod, "Ready").get("status") == "True"), None)

        return wait_for(ready, timeout=120, what="the operator's pod", state=self.pods)

    def pods(self) -> list[Json]:
        """All of its pods, those that are ending, too."""
        return self._cluster.api.list("pods", SYSTEM, labels=f"app={NAME}")

    def _deployment(self) -> Json:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": SYSTEM},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": _LABELS},
                "template": {
                    "metadata": {"labels": _LABELS},
                    "spec": {"serviceAccountName": ACCOUNT, "containers": [self._container()]},
                },
            },
        }

    def _container(self) -> Json:
        holder = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        # These nodes have no kube-proxy, so that the Service of the API server leads nowhere.
        server = {
            "KUBERNETES_SERVICE_HOST": HOST,
            "KUBERNETES_SERVICE_PORT": str(self._cluster.plane.ports.apiserver),
        }
        return {
            "name": "operator",
            "image": self.image,
            "args": [
                *("run", f"--image={self.trainer}", "--lease-holder=$(POD_NAME)", "--lease-seconds=5"),
                *("--progress-seconds=1", "--status-seconds=2"),
            ],
            "env": [holder, *({"name": name, "value": value} for name, value in server.items())],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "initialDelaySeconds": 20},
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"memory": "512Mi"},
            },
            "securityContext": RESTRICTED,
        }
