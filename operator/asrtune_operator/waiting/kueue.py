"""Kueue's objects: Workloads, LocalQueues, ClusterQueues, as far as they explain a wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from asrtune_operator.kube.client import ApiError, Client
from asrtune_operator.values.kinds import Resource
from asrtune_operator.values.observed import QueueView
from asrtune_operator.waiting.facts import Active, QueueFacts, Share
from asrtune_operator.waiting.queue import queue_view
from asrtune_operator.waiting.shared import Shared

Json = Mapping[str, Any]
GROUP: Final = "kueue.x-k8s.io"
VERSIONS: Final = ("v1beta2", "v1beta1")
"""The newer first; older Kueues serve only the other."""
JOB_UID: Final = f"{GROUP}/job-uid"
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class _Workload:
    view: QueueView
    namespace: str
    waits: bool
    place: tuple[int, datetime, str]
    """The lower, the sooner it is taken."""
    admitted_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Workloads:
    by_uid: Mapping[str, _Workload]
    """By the uid of the Job, JobSet... that they stand for."""
    installed: bool = True


@dataclass(frozen=True, slots=True)
class _Queue:
    active: Active
    cluster_queue: str = ""
    shares: Mapping[str, Share] | None = None


Key = tuple[str, str]
"""Namespace (empty for a ClusterQueue) and name."""


class Kueue:
    """Asks Kueue's objects, each kind at most once in some seconds for all runs together."""

    def __init__(self, client: Client, namespaces: Sequence[str], seconds: float) -> None:
        """Ask nothing yet.

        Args:
            client: who is asked.
            namespaces: served; none: all.
            seconds: how long an answer is believed.
        """
        self._client = client
        self._namespaces: Sequence[str | None] = [*namespaces] or [None]
        self._workloads = Shared("Kueue's Workloads", self._list_workloads, seconds)
        self._locals = Shared("LocalQueues", self._list_locals, seconds)
        self._clusters = Shared("ClusterQueues", self._list_clusters, seconds)

    async def view(self, uid: str) -> QueueView | None:
        """What Kueue says of the workload (a Job...) with that uid."""
        workloads = await self._workloads.get()
        found = workloads.by_uid.get(uid) if workloads else None
        return found.view if found else None

    async def facts(self, uid: str, namespace: str, queue: str) -> QueueFacts:
        """What Kueue says of the workload with that uid, and of its queue."""
        workloads = await self._workloads.get()
        if workloads is None:
            return QueueFacts(readable=False)
        if not workloads.installed:
            return QueueFacts(installed=False)
        mine = workloads.by_uid.get(uid)
        if mine is None or mine.view.admitted:
            return QueueFacts(
                view=mine.view if mine else None, admitted_at=mine.admitted_at if mine else None
            )
        local = (await self._locals.get() or {}).get((namespace, queue))
        name = local.cluster_queue if local else ""
        cluster = (await self._clusters.get() or {}).get(("", name))
        ahead = [
            one
            for one in workloads.by_uid.values()
            if one.waits and (one.namespace, one.view.queue) == (namespace, queue) and one.place < mine.place
        ]
        return QueueFacts(
            view=mine.view,
            cluster_queue=name,
            local=local.active if local else None,
            cluster=cluster.active if cluster else None,
            shares=(cluster.shares if cluster else None) or {},
            ahead=len(ahead),
        )

    async def _list_workloads(self) -> _Workloads:
        found = {}
        try:
            async for manifest in self._list("workloads", "Workload"):
                uid = (manifest["metadata"].get("labels") or {}).get(JOB_UID, "")
                found[uid or manifest["metadata"]["uid"]] = _workload(manifest)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return _Workloads({}, installed=False)
        return _Workloads(found)

    async def _list_locals(self) -> dict[Key, _Queue]:
        return {
            (one["metadata"]["namespace"], one["metadata"]["name"]): _Queue(
                _active(one), one["spec"].get("clusterQueue", "")
            )
            async for one in self._list("localqueues", "LocalQueue")
        }

    async def _list_clusters(self) -> dict[Key, _Queue]:
        return {
            ("", one["metadata"]["name"]): _Queue(_active(one), shares=_shares(one))
            async for one in self._list("clusterqueues", "ClusterQueue", everywhere=True)
        }

    async def _list(self, plural: str, kind: str, *, everywhere: bool = False) -> AsyncIterator[Json]:
        for namespace in [None] if everywhere else self._namespaces:
            async for one in self._of_any_version(plural, kind, namespace):
                yield one

    async def _of_any_version(self, plural: str, kind: str, namespace: str | None) -> AsyncIterator[Json]:
        for version in VERSIONS:
            try:
                async for one in self._client.list(Resource(GROUP, version, plural, kind), namespace):
                    yield one
            except ApiError as error:
                if error.status != _NOT_FOUND or version == VERSIONS[-1]:
                    raise
            else:
                return


def _workload(manifest: Json) -> _Workload:
    metadata, spec = manifest["metadata"], manifest["spec"]
    conditions = {one["type"]: one for one in manifest.get("status", {}).get("conditions") or ()}
    view = queue_view(manifest)
    ended = conditions.get("Finished", {}).get("status") == "True"
    admitted = conditions["Admitted"]["lastTransitionTime"] if view.admitted else None
    queued = metadata["creationTimestamp"]
    if conditions.get("Evicted", {}).get("status") == "True":
        queued = conditions["Evicted"]["lastTransitionTime"]
    return _Workload(
        view=view,
        namespace=metadata["namespace"],
        waits=not (view.reserved or ended) and spec.get("active", True),
        place=(-(spec.get("priority") or 0), datetime.fromisoformat(queued), metadata["name"]),
        admitted_at=datetime.fromisoformat(admitted) if admitted else None,
    )


def _active(manifest: Json) -> Active:
    for one in manifest.get("status", {}).get("conditions") or ():
        if one["type"] == "Active":
            return Active(one["status"] == "True", one.get("message", ""))
    return Active(active=True)


def _shares(manifest: Json) -> dict[str, Share]:
    """Used and quota of each resource; what is borrowed counts as used."""
    quota: defaultdict[str, Decimal] = defaultdict(Decimal)
    for group in manifest["spec"].get("resourceGroups") or ():
        for flavor in group["flavors"]:
            for one in flavor["resources"]:
                quota[one["name"]] += parse_quantity(one["nominalQuota"])
    used: defaultdict[str, Decimal] = defaultdict(Decimal)
    for flavor in manifest.get("status", {}).get("flavorsReservation") or ():
        for one in flavor["resources"]:
            used[one["name"]] += parse_quantity(one.get("total", 0))
    return {name: Share(used[name], value) for name, value in quota.items()}
