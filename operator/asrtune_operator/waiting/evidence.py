"""Asks the cluster what a wait may be explained by: only what is needed, and one list for all runs that need it.

However many runs wait, that is at most: every ten seconds the nodes and the pods on them; every three seconds Kueue's
Workloads and queues, and the events and claims of each namespace concerned. A list that is slow is asked for less
often (`shared.py`). What the operator may not read is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from asrtune_operator.kube.client import Client
from asrtune_operator.values.kinds import EVENTS, NODES, PODS, Resource
from asrtune_operator.values.observed import PodView, WorkloadView
from asrtune_operator.waiting.claims import claim_names
from asrtune_operator.waiting.cluster import (
    EVENT_FIELDS,
    POD_FIELDS,
    claim_view,
    event_view,
    node_view,
    requests_of,
    used_by_node,
)
from asrtune_operator.waiting.explain import workload_names
from asrtune_operator.waiting.facts import ClaimView, EventView, Evidence, NodeView, Wanted
from asrtune_operator.waiting.kueue import Kueue
from asrtune_operator.waiting.shared import Shared

CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NODES_SECONDS: Final = 10.0
FRESH_SECONDS: Final = 3.0
SETTLING: Final = timedelta(seconds=2)
"""How old a pod or a workload must be before it is asked what is wrong with it."""
_CLOCKS_APART: Final = timedelta(seconds=1)
_PLAIN: Final = frozenset({"", "ContainerCreating", "PodInitializing", "ImagePullBackOff"})


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be asked."""

    events: bool
    nodes: bool
    claims: bool
    queue: bool


def needs(wanted: Wanted, workload: WorkloadView, pods: Sequence[PodView], now: datetime) -> Needs:
    """What has to be asked to explain a wait."""
    if workload.suspended:
        return Needs(events=False, nodes=False, claims=False, queue=bool(wanted.queue))
    waiting = [pod for pod in pods if not (pod.begun or pod.gates)]
    homeless = [pod for pod in waiting if not pod.node]
    said = [pod.conditions["PodScheduled"].message for pod in homeless if "PodScheduled" in pod.conditions]
    silent = [pod for pod in homeless if "PodScheduled" not in pod.conditions and _settled(pod, now)]
    unexplained = any(
        _settled(pod, now) and pod.container.waiting_reason in _PLAIN for pod in waiting if pod.node
    )
    missing = len(pods) < wanted.nodes and now - workload.created >= SETTLING
    unbound = any("PersistentVolumeClaims" in text for text in said)
    claims = bool(wanted.claims) and (bool(silent) or unbound)
    return Needs(
        events=unexplained or missing or claims,
        nodes=any(
            "nodes are available" in text and "persistentvolumeclaim" not in text.lower() for text in said
        ),
        claims=claims,
        queue=missing and bool(wanted.queue),
    )


class EvidenceSource:
    """Gathers evidence for any number of runs."""

    def __init__(self, client: Client, namespaces: Sequence[str] = ()) -> None:
        """Ask nothing yet.

        Args:
            client: who is asked.
            namespaces: served; none: all.
        """
        self._client = client
        self.kueue = Kueue(client, namespaces, FRESH_SECONDS)
        self._nodes = Shared("nodes", self._list_nodes, NODES_SECONDS)
        self._claims: dict[str, Shared[Mapping[str, ClaimView]]] = {}
        self._events: dict[str, Shared[Mapping[str, Sequence[EventView]]]] = {}

    async def gather(
        self, wanted: Wanted, workload: WorkloadView, pods: Sequence[PodView], now: datetime
    ) -> Evidence:
        """What is needed to explain why an attempt waits."""
        asked = needs(wanted, workload, pods, now)
        namespace = wanted.namespace
        return Evidence(
            events=await self._about(wanted, workload, pods) if asked.events else (),
            nodes=await self._nodes.get() if asked.nodes else None,
            claims=await self._claims_of(namespace).get() if asked.claims else None,
            queue=await self.kueue.facts(workload.uid, namespace, wanted.queue or "")
            if asked.queue
            else None,
        )

    async def nodes(self) -> Sequence[NodeView] | None:
        """The nodes; None where they may not be read."""
        return await self._nodes.get()

    async def _about(
        self, wanted: Wanted, workload: WorkloadView, pods: Sequence[PodView]
    ) -> Sequence[EventView]:
        events = await self._events_of(wanted.namespace).get() or {}
        claims = {name for pod in pods for name in claim_names(pod, wanted)}
        names = {*workload_names(workload), *(pod.name for pod in pods), *claims}
        uids = {workload.name: workload.uid} | {pod.name: pod.uid for pod in pods}
        found = [
            event
            for name in names
            for event in events.get(name, ())
            if event.last >= workload.created - _CLOCKS_APART or event.kind == CLAIMS.kind
            if event.kind == "Job" or not event.uid or event.uid == uids.get(event.name, event.uid)
        ]
        return sorted(found, key=lambda event: event.last)

    def _events_of(self, namespace: str) -> Shared[Mapping[str, Sequence[EventView]]]:
        if namespace not in self._events:
            fetch = partial(self._list_events, namespace)
            self._events[namespace] = Shared(f"events of {namespace}", fetch, FRESH_SECONDS)
        return self._events[namespace]

    def _claims_of(self, namespace: str) -> Shared[Mapping[str, ClaimView]]:
        if namespace not in self._claims:
            fetch = partial(self._list_claims, namespace)
            self._claims[namespace] = Shared(f"claims of {namespace}", fetch, FRESH_SECONDS)
        return self._claims[namespace]

    async def _list_nodes(self) -> Sequence[NodeView]:
        nodes = [one async for one in self._client.list(NODES)]
        pods = [requests_of(pod) async for pod in self._client.list(PODS, fields=POD_FIELDS)]
        used = used_by_node(pods)
        return [node_view(node, used.get(node["metadata"]["name"], {})) for node in nodes]

    async def _list_claims(self, namespace: str) -> Mapping[str, ClaimView]:
        views = [claim_view(one) async for one in self._client.list(CLAIMS, namespace)]
        return {view.name: view for view in views}

    async def _list_events(self, namespace: str) -> Mapping[str, Sequence[EventView]]:
        found: defaultdict[str, list[EventView]] = defaultdict(list)
        async for manifest in self._client.list(EVENTS, namespace, fields=EVENT_FIELDS):
            view = event_view(manifest)
            found[view.name].append(view)
        return found


def _settled(pod: PodView, now: datetime) -> bool:
    return now - pod.created >= SETTLING
