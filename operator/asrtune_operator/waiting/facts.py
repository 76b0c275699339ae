"""What a wait is explained by: what the pods ask for, and what was found in the cluster. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from kubernetes.utils.quantity import parse_quantity

from asrtune_api.runtime import Toleration
from asrtune_operator.render.resources import resources
from asrtune_operator.render.volumes import volumes
from asrtune_operator.values.observed import QueueView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the pods of a unit ask the cluster for."""

    namespace: str
    nodes: int
    """Pods of the gang."""
    image: str
    gpu_resource: str
    requests: Mapping[str, Decimal]
    """Of each pod, by resource: cores, bytes, pieces."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Toleration] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    """Names of PersistentVolumeClaims by the pod's names of their volumes; `{pod}` stands for the pod's name."""
    secret: str | None = None
    """With the storage credentials."""
    queue: str | None = None
    priority_class: str | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    """A Kubernetes event about a pod or a workload."""

    kind: str
    name: str
    uid: str
    reason: str
    message: str
    last: datetime
    warning: bool = True


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node, and what the pods on it ask for."""

    name: str
    ready: bool = True
    cordoned: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Taint] = ()
    total: Mapping[str, Decimal] = field(default_factory=dict)
    """Allocatable, by resource."""
    used: Mapping[str, Decimal] = field(default_factory=dict)

    def free(self, resource: str) -> Decimal:
        return self.total.get(resource, Decimal()) - self.used.get(resource, Decimal())


@dataclass(frozen=True, slots=True)
class ClaimView:
    """A PersistentVolumeClaim."""

    name: str
    phase: str
    storage_class: str
    provisioner: str
    """Who was asked to make the volume; empty where nobody was."""


@dataclass(frozen=True, slots=True)
class Active:
    """Whether a LocalQueue or ClusterQueue takes workloads, and why not."""

    active: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """A resource of a ClusterQueue."""

    used: Decimal
    quota: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """What Kueue says of one of our workloads. What may not be read is None."""

    installed: bool = True
    readable: bool = True
    """Whether Kueue's Workloads may be read at all."""
    view: QueueView | None = None
    """None: Kueue has not taken notice of the workload."""
    cluster_queue: str = ""
    local: Active | None = None
    cluster: Active | None = None
    shares: Mapping[str, Share] = field(default_factory=dict)
    """Of the ClusterQueue, by resource, over all flavors."""
    ahead: int | None = None
    """Workloads that come first."""
    admitted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found in the cluster. None: it was not asked for, or may not be read."""

    events: Sequence[EventView] = ()
    """About the workload, the Jobs below it and its pods; the newest last."""
    nodes: Sequence[NodeView] | None = None
    claims: Mapping[str, ClaimView] | None = None
    queue: QueueFacts | None = None

    def about(self, *names: str) -> Sequence[EventView]:
        """Events about objects of these names, the newest first."""
        return [one for one in reversed(self.events) if one.name in names]


def wanted_of(run: Run, unit: Unit) -> Wanted:
    """What the pods of a unit ask for."""
    pod = run.runtime.pod
    asked = resources(run, unit)
    amounts = {**asked.get("limits", {}), **asked.get("requests", {})}
    return Wanted(
        namespace=run.identity.namespace,
        nodes=unit.nodes,
        image=run.image,
        gpu_resource=run.runtime.gpu_resource,
        requests={name: parse_quantity(amount) for name, amount in amounts.items()},
        node_selector=pod.node_selector,
        tolerations=pod.tolerations,
        claims=_claims(run, unit),
        secret=run.secret,
        queue=run.queue,
        priority_class=pod.priority_class_name,
    )


def _claims(run: Run, unit: Unit) -> dict[str, str]:
    mounted, _ = volumes(run, unit)
    named = {
        one["name"]: one["persistentVolumeClaim"]["claimName"]
        for one in mounted
        if "persistentVolumeClaim" in one
    }
    return named | {one["name"]: f"{{pod}}-{one['name']}" for one in mounted if "ephemeral" in one}
