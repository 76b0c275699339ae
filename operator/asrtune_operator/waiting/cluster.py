"""Nodes, pods' requests, claims and events, read from the API server's JSON into plain values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from asrtune_operator.waiting.facts import ClaimView, EventView, NodeView, Taint

Json = Mapping[str, Any]
Amounts = Mapping[str, Decimal]
_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
NOISE: Final = (
    *("Scheduled", "FailedScheduling", "Pulled", "BackOff", "Created", "Started", "Killing", "Unhealthy"),
    *("SuccessfulCreate", "SuccessfulDelete", "Completed", "Suspended", "Resumed", "ExternalProvisioning"),
)
"""Reasons of events that tell nothing which is not in the objects themselves."""
EVENT_FIELDS: Final = ",".join(f"reason!={reason}" for reason in NOISE)
POD_FIELDS: Final = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
"""Pods that hold something of a node."""


def node_view(manifest: Json, used: Amounts) -> NodeView:
    """A node."""
    spec, status = manifest.get("spec", {}), manifest.get("status", {})
    ready = next((one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"), "")
    return NodeView(
        name=manifest["metadata"]["name"],
        ready=ready == "True",
        cordoned=bool(spec.get("unschedulable")),
        labels=manifest["metadata"].get("labels") or {},
        taints=[Taint(one["key"], one.get("value", ""), one["effect"]) for one in spec.get("taints") or ()],
        total={key: parse_quantity(value) for key, value in (status.get("allocatable") or {}).items()},
        used=used,
    )


def used_by_node(pods: Iterable[tuple[str, Amounts]]) -> Mapping[str, Amounts]:
    """What the pods on each node ask for, together."""
    used: defaultdict[str, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for node, amounts in pods:
        for resource, value in amounts.items():
            used[node][resource] += value
    return used


def requests_of(pod: Json) -> tuple[str, Amounts]:
    """A pod's node, and what it asks for: init containers run one after the other, sidecars all along."""
    spec = pod["spec"]
    running: defaultdict[str, Decimal] = defaultdict(Decimal)
    for container in spec["containers"]:
        _add(running, _requests(container))
    largest: defaultdict[str, Decimal] = defaultdict(Decimal)
    sidecars: defaultdict[str, Decimal] = defaultdict(Decimal)
    for container in spec.get("initContainers") or ():
        asked = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(running, asked)
            _add(sidecars, asked)
            asked = {}
        for resource in {*asked, *sidecars}:
            largest[resource] = max(largest[resource], sidecars[resource] + asked.get(resource, Decimal()))
    total = {resource: max(running[resource], largest[resource]) for resource in {*running, *largest}}
    for resource, value in (spec.get("overhead") or {}).items():
        total[resource] = total.get(resource, Decimal()) + parse_quantity(value)
    return spec.get("nodeName", ""), total


def claim_view(manifest: Json) -> ClaimView:
    """A PersistentVolumeClaim."""
    metadata = manifest["metadata"]
    return ClaimView(
        name=metadata["name"],
        phase=manifest.get("status", {}).get("phase", "Pending"),
        storage_class=manifest["spec"].get("storageClassName") or "",
        provisioner=(metadata.get("annotations") or {}).get(_PROVISIONER, ""),
    )


def event_view(manifest: Json) -> EventView:
    """A core event; who writes it by the newer API fills other fields of the same object."""
    about = manifest.get("involvedObject") or {}
    last = (
        manifest.get("lastTimestamp")
        or (manifest.get("series") or {}).get("lastObservedTime")
        or manifest.get("eventTime")
        or manifest["metadata"]["creationTimestamp"]
    )
    return EventView(
        kind=about.get("kind", ""),
        name=about.get("name", ""),
        uid=about.get("uid", ""),
        reason=manifest.get("reason", ""),
        message=manifest.get("message", ""),
        last=datetime.fromisoformat(last),
        warning=manifest.get("type") == "Warning",
    )


def _requests(container: Json) -> dict[str, Decimal]:
    asked = (container.get("resources") or {}).get("requests") or {}
    return {key: parse_quantity(value) for key, value in asked.items()}


def _add(to: defaultdict[str, Decimal], more: Amounts) -> None:
    for resource, value in more.items():
        to[resource] += value
