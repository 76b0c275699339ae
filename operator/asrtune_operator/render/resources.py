"""What the container of a unit asks for."""

from __future__ import annotations

from typing import Any, Final

from asrtune_operator.render.quantity import to_bytes, to_millicores
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

SMALL_CPU: Final = "1"
SMALL_MEMORY: Final = "4Gi"
"""What the pod of a unit that trains nothing asks for: a model and its libraries fit, and any node has it. It is no
limit: a manifest says nothing of these stages, so a limit could only kill what nobody sized; Prepare then uses the
cores that are idle."""


def resources(run: Run, unit: Unit) -> dict[str, Any]:
    """Requests and limits. GPUs and devices are both, as Kubernetes wants them."""
    devices = _devices(run, unit)
    asked = run.resources
    if not unit.trains:
        requests = {
            "cpu": min(asked.cpu or SMALL_CPU, SMALL_CPU, key=to_millicores),
            "memory": min(asked.memory or SMALL_MEMORY, SMALL_MEMORY, key=to_bytes),
        }
        return {"requests": {**requests, **devices}, **({"limits": devices} if devices else {})}
    cpu = {"cpu": asked.cpu} if asked.cpu else {}
    memory = {"memory": asked.memory} if asked.memory else {}
    sides = {"requests": {**cpu, **memory, **devices}, "limits": {**memory, **devices}}
    return {side: values for side, values in sides.items() if values}


def shared_memory(run: Run, unit: Unit) -> dict[str, Any] | None:
    """The volume at /dev/shm, through which loader processes hand batches over; None: the container's own 64 MiB.

    Unless somebody says its size, it may take half of the container's memory, which it counts towards: the other half
    is left to the processes. Without a memory limit the kubelet lets it grow to what the node has.
    """
    if not unit.trains:
        return None
    size = run.resources.shared_memory or run.runtime.pod.shared_memory
    if size is None and run.resources.memory is not None:
        size = str(to_bytes(run.resources.memory) // 2)
    return {"medium": "Memory", **({"sizeLimit": size} if size else {})}


def _devices(run: Run, unit: Unit) -> dict[str, str]:
    """Network adapters (EFA, RDMA) only for gangs of several nodes: alone, a pod would only keep them from others."""
    gpus = {run.runtime.gpu_resource: str(unit.gpus)} if unit.gpus else {}
    return {**gpus, **(run.runtime.pod.extra_resources if unit.nodes > 1 else {})}
