"""Which nodes the pods of a unit may run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asrtune_api.runtime import PodSettings
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

Json = dict[str, Any]

NODE_LOSS_SECONDS: Final = 30
"""How long pods stay on a node that is not heard of. Kubernetes' own five minutes would hold a whole gang's GPUs."""
_LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def placement(run: Run, unit: Unit, gang: Mapping[str, str]) -> Json:
    """Part of a pod's spec.

    Args:
        run: the run.
        unit: the unit.
        gang: labels that only the unit's pods have. Of an earlier attempt none is left when the next one starts.
    """
    pod = run.runtime.pod
    parts: Json = {
        "nodeSelector": pod.node_selector,
        "priorityClassName": pod.priority_class_name,
        "affinity": _affinity(run, gang) if unit.nodes > 1 else None,
        "tolerations": _tolerations(pod),
    }
    return {key: value for key, value in parts.items() if value}


def _tolerations(pod: PodSettings) -> list[Json]:
    """The runtime's; and, unless it speaks of lost nodes itself, that they are left soon."""
    written = [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in pod.tolerations]
    told = {one.key for one in pod.tolerations}
    lost = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NODE_LOSS_SECONDS}
        for key in _LOST
        if key not in told
    ]
    return [*written, *lost]


def _affinity(run: Run, gang: Mapping[str, str]) -> Json:
    """Together by a wish, apart by force: a gang that is spread is slow, one that waits for ever is worth nothing.

    Kueue's topology-aware scheduling has an annotation of its own, which a runtime may give its pods. It is not derived
    from packBy: a queue whose flavors have no topology would refuse the workload.
    """
    topology = run.execution.topology
    if topology is None:
        return {}
    own = {"labelSelector": {"matchLabels": dict(gang)}}
    affinity: Json = {}
    if topology.pack_by is not None:
        term = {"weight": 100, "podAffinityTerm": {**own, "topologyKey": topology.pack_by}}
        affinity["podAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": [term]}
    if topology.spread_over_hosts:
        apart = {**own, "topologyKey": "kubernetes.io/hostname"}
        affinity["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
    return affinity
