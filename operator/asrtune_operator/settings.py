"""The operator's settings: each is a command-line option of `asrtune-operator run`, documented where it is declared."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseModel):
    """Fixed for the life of the process."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    namespaces: tuple[str, ...] = ()
    """Namespace to serve; several times for several. None: the whole cluster, which needs the ClusterRole of
    rbac/cluster.yaml; with namespaces the Roles of rbac/namespaced.yaml do."""
    image: str = f"asrtune-trainer:{version('asrtune')}"
    """Image of the pods where the runtime names none."""
    kubeconfig: Path | None = None
    """How to reach the API server from outside; unset: as the pod's ServiceAccount."""
    context: str | None = None
    """Context of the kubeconfig; unset: its current one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Runs that are looked at at the same time."""
    resync_seconds: Seconds = 300
    """How often everything is listed anew, so that a lost event does no lasting harm."""
    discovery_seconds: Seconds = 30
    """How often the API server is asked which backends' kinds it serves."""
    progress_seconds: Seconds = 5
    """How often rank 0 of a running stage is asked for its progress."""
    status_seconds: Seconds = 10
    """The shortest time between two status writes of a run of which only the progress has changed."""
    wait_seconds: Seconds = 4
    """How soon it is found out anew why something waits; half a minute at most where the reason stays the same."""
    listen: str = "0.0.0.0"  # noqa: S104 (the kubelet and Prometheus ask from outside)
    """Address of /metrics, /healthz and /readyz."""
    port: Port = 8080
    """Their port."""
    lease: bool = True
    """Only one replica works at a time, by a Lease. Off: there must never be a second one."""
    lease_name: str = "asrtune-operator"
    """Name of the Lease; operators of different namespaces need different ones."""
    lease_namespace: str = "asrtune-system"
    """Namespace of the Lease: the operator's own."""
    lease_holder: str = ""
    """Name of this replica, that no other may have. In a pod: the pod's, so that its restarted container goes on at
    once. Unset: a new one for each process."""
    lease_seconds: Annotated[float, Field(ge=1)] = 15
    """How long a replica that died without a word is waited for."""
    stuck_seconds: Seconds = 300
    """/healthz fails when runs wait but none was looked at for this long, or the watches have been down this long."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is logged, one JSON object a line."""
