"""Lists everything anew: at the start, when kinds come and go, and from time to time, so that a lost event heals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.follow.observe import pod_view
from asrtune_operator.kube.client import ApiError, Client
from asrtune_operator.state.objects import Kept, child, run_object, runtime_object
from asrtune_operator.state.store import Store
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, EVALUATIONS, FINETUNES, PODS, RUNTIMES, Resource
from asrtune_operator.values.names import RUN_UID

_log = logging.getLogger(__name__)
_FORBIDDEN: Final = 403
_WORKLOADS: Final = {one.resource: one for one in BACKENDS.values()}
SELECTORS: Final[Mapping[Resource, str]] = dict.fromkeys((PODS, *_WORKLOADS), RUN_UID)
"""Of pods and workloads only a run's are watched: those with the label."""
ALWAYS: Final = (CLUSTER_RUNTIMES, RUNTIMES, FINETUNES, EVALUATIONS, PODS)
"""Runtimes first: runs are understood by them."""

OnChange = Callable[[Iterable[str]], None]
"""Called with the uids of runs for which something has changed."""


def read(kind: Resource, manifest: Mapping[str, Any]) -> Kept | None:
    """What is kept of an object; None of one that cannot be read: it must not keep the others from being."""
    try:
        return keep(kind, manifest)
    except (KeyError, TypeError, ValueError, AttributeError):
        name = (manifest.get("metadata") or {}).get("name")
        _log.exception("an object cannot be read", extra={"kind": kind.kind, "object": name})
        return None


def keep(kind: Resource, manifest: Mapping[str, Any]) -> Kept:
    """What is kept of an object."""
    if kind in {FINETUNES, EVALUATIONS}:
        return run_object({"kind": kind.kind, **manifest})
    if kind in {RUNTIMES, CLUSTER_RUNTIMES}:
        return runtime_object({"kind": kind.kind, **manifest})
    view = pod_view(manifest) if kind == PODS else _WORKLOADS[kind].view(manifest)
    return child(manifest, view)


def wanted(served: Collection[Resource]) -> list[Resource]:
    """The kinds to be followed on a cluster."""
    return [*ALWAYS, *(kind for kind in _WORKLOADS if kind in served)]


class Resync:
    """Makes the store what the API server says."""

    def __init__(self, client: Client, store: Store, namespaces: Sequence[str], on_change: OnChange) -> None:
        self._client = client
        self._store = store
        self._namespaces = namespaces
        self._on_change = on_change
        self._forbidden: set[Resource] = set()

    async def run(self, served: Collection[Resource]) -> frozenset[Resource]:
        """List all kinds. Returns those that can be watched, too.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer.
        """
        kinds = wanted(served)
        for kind in (*kinds, *_unserved(served)):
            await self._list(kind, served=kind in kinds)
        return frozenset(kinds) - self._forbidden

    async def _list(self, kind: Resource, *, served: bool) -> None:
        since = self._store.clock()
        listed: list[Kept] = []
        try:
            for namespace in self._places(kind) if served else ():
                pages = self._client.list(kind, namespace, labels=SELECTORS.get(kind, ""))
                listed += [kept async for manifest in pages if (kept := read(kind, manifest)) is not None]
        except ApiError as error:
            if error.status != _FORBIDDEN or kind != CLUSTER_RUNTIMES:
                raise
            if kind not in self._forbidden:
                _log.warning("ClusterASRRuntimes may not be read; runs can name ASRRuntimes only")
            self._forbidden.add(kind)
            return
        self._forbidden.discard(kind)
        self._on_change(self._store.replace(kind, listed, since))

    def _places(self, kind: Resource) -> Sequence[str | None]:
        return [None] if kind == CLUSTER_RUNTIMES or not self._namespaces else list(self._namespaces)


def _unserved(served: Collection[Resource]) -> list[Resource]:
    """Kinds whose objects are gone with their CRD, which tells nobody."""
    return [kind for kind in _WORKLOADS if kind not in served]
