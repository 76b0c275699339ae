"""The little that is kept of an API object, and how it is made from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from asrtune_api import API_VERSION
from asrtune_operator.values.kinds import RUN_KINDS, Resource
from asrtune_operator.values.names import KIND, RETRY, RUN, RUN_UID
from asrtune_operator.values.observed import PodView, WorkloadView
from asrtune_operator.values.run import Identity, RunKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunObject:
    """An ASRFinetune or ASREvaluation as the API server gives it."""

    identity: Identity
    version: str
    """Its resourceVersion."""
    generation: int
    created: datetime
    deleting: bool
    retry: str | None
    spec: Mapping[str, Any]
    status: Mapping[str, Any]

    @property
    def uid(self) -> str:
        return self.identity.uid

    @property
    def resource(self) -> Resource:
        return RUN_KINDS[self.identity.kind]

    @property
    def manifest(self) -> dict[str, Any]:
        """As the API's models read it."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.identity.kind,
            "metadata": {"name": self.identity.name, "namespace": self.identity.namespace},
            "spec": self.spec,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeObject:
    """An ASRRuntime or ClusterASRRuntime."""

    kind: str
    namespace: str
    """Empty for a ClusterASRRuntime."""
    name: str
    uid: str
    version: str
    spec: Mapping[str, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        """As the API's models read it."""
        metadata = {"name": self.name, **({"namespace": self.namespace} if self.namespace else {})}
        return {"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata, "spec": self.spec}


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A workload or a pod of a run."""

    namespace: str
    run_uid: str
    run_kind: str
    run_label: str
    """Name of the run as labels hold it."""
    uid: str
    version: str
    view: PodView | WorkloadView = field(compare=False)


Kept = RunObject | RuntimeObject | Child


def run_object(manifest: Mapping[str, Any]) -> RunObject:
    """A run, from its manifest."""
    metadata = manifest["metadata"]
    identity = Identity(
        kind=cast("RunKind", manifest["kind"]),
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
    )
    return RunObject(
        identity=identity,
        version=metadata["resourceVersion"],
        generation=metadata.get("generation", 0),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        retry=(metadata.get("annotations") or {}).get(RETRY),
        spec=manifest.get("spec") or {},
        status=manifest.get("status") or {},
    )


def runtime_object(manifest: Mapping[str, Any]) -> RuntimeObject:
    """A runtime, from its manifest."""
    metadata = manifest["metadata"]
    return RuntimeObject(
        kind=manifest["kind"],
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        spec=manifest.get("spec") or {},
    )


def child(manifest: Mapping[str, Any], view: PodView | WorkloadView) -> Child:
    """A workload or a pod, from its manifest and what the backend sees in it."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    return Child(
        namespace=metadata["namespace"],
        run_uid=labels.get(RUN_UID, ""),
        run_kind=labels.get(KIND, ""),
        run_label=labels.get(RUN, ""),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        view=view,
    )
