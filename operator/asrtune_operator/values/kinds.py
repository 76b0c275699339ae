"""The kinds of API objects that the operator knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from asrtune_api import API_VERSION
from asrtune_operator.values.names import GROUP

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of API object, as its URL names it."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


_VERSION = API_VERSION.partition("/")[2]
FINETUNES: Final = Resource(GROUP, _VERSION, "asrfinetunes", "ASRFinetune")
EVALUATIONS: Final = Resource(GROUP, _VERSION, "asrevaluations", "ASREvaluation")
RUNTIMES: Final = Resource(GROUP, _VERSION, "asrruntimes", "ASRRuntime")
CLUSTER_RUNTIMES: Final = Resource(GROUP, _VERSION, "clusterasrruntimes", "ClusterASRRuntime")
PODS: Final = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
SERVICES: Final = Resource("", "v1", "services", "Service")
EVENTS: Final = Resource("", "v1", "events", "Event")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace")
NODES: Final = Resource("", "v1", "nodes", "Node")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

RUN_KINDS: Final = {"ASRFinetune": FINETUNES, "ASREvaluation": EVALUATIONS}
