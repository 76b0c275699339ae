"""What the operator knows of the cluster: one slim entry an object, filed by the run that it belongs to.

For one event loop; nothing blocks. Watches, resyncs and the answers to the operator's own writes all come here; the
newest version of an object wins, whoever brings it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

from asrtune_operator.state.objects import Child, Kept, RunObject, RuntimeObject
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, RUNTIMES, Resource
from asrtune_operator.values.names import label_value
from asrtune_operator.values.observed import PodView, WorkloadView

T = TypeVar("T")
K = TypeVar("K")


@dataclass(slots=True)
class _Entry:
    kept: Kept
    seen: int
    """The store's clock when it came."""


class Store:
    """The objects by kind, with the indices that plans need."""

    def __init__(self) -> None:
        self._clock = 0
        self._kinds: defaultdict[Resource, dict[str, _Entry]] = defaultdict(dict)
        self._runs: dict[str, RunObject] = {}
        self._named: dict[tuple[str, str, str], str] = {}  # by the name as labels hold it
        self._evaluations: defaultdict[str, set[str]] = defaultdict(set)
        self._runtimes: dict[tuple[str, str], RuntimeObject] = {}
        self._children: defaultdict[str, dict[str, Child]] = defaultdict(dict)
        self._gone: defaultdict[str, dict[str, Child]] = defaultdict(dict)
        self._by_label: defaultdict[tuple[str, str, str], dict[str, Child]] = defaultdict(dict)

    def clock(self) -> int:
        """A moment: what came before it may be replaced by a list that was asked for after it."""
        self._clock += 1
        return self._clock

    def put(self, resource: Resource, kept: Kept) -> AbstractSet[str]:
        """File an object, unless a newer version of it is there.

        Returns:
            Uids of the runs that it concerns.
        """
        entry = self._kinds[resource].get(kept.uid)
        if entry is not None and _older(kept.version, entry.kept.version):
            return frozenset()
        self._kinds[resource][kept.uid] = _Entry(kept, self.clock())
        return self._index(kept)

    def bury(self, resource: Resource, kept: Kept) -> AbstractSet[str]:
        """Forget an object that is gone, of which this is the last state: watches may leave out the one before.

        Returns:
            As `put`.
        """
        return self.put(resource, kept) | self.drop(resource, kept.uid)

    def drop(self, resource: Resource, uid: str) -> AbstractSet[str]:
        """Forget an object that is gone. Returns as `put`."""
        entry = self._kinds[resource].pop(uid, None)
        return frozenset() if entry is None else self._unindex(entry.kept)

    def replace(self, resource: Resource, listed: Iterable[Kept], since: int) -> AbstractSet[str]:
        """Make a kind's content what a list says. What came after `since` (the clock before the list) is newer.

        Returns:
            Uids of the runs for which something changed.
        """
        concerned: set[str] = set()
        listed_uids = set()
        for kept in listed:
            listed_uids.add(kept.uid)
            entry = self._kinds[resource].get(kept.uid)
            if entry is None or (entry.seen <= since and entry.kept.version != kept.version):
                self._kinds[resource][kept.uid] = _Entry(kept, since)
                concerned |= self._index(kept)
        gone = [
            uid
            for uid, entry in self._kinds[resource].items()
            if entry.seen <= since and uid not in listed_uids
        ]
        for uid in gone:
            concerned |= self.drop(resource, uid)
        return concerned

    def run(self, uid: str) -> RunObject | None:
        """A run by its uid."""
        return self._runs.get(uid)

    def runs(self) -> Iterator[RunObject]:
        """All runs."""
        return iter(list(self._runs.values()))

    def named(self, kind: str, namespace: str, name: str) -> RunObject | None:
        """A run by its name."""
        uid = self._named.get((kind, namespace, label_value(name)))
        return self._runs.get(uid) if uid is not None else None

    def runtime(self, kind: str, namespace: str, name: str) -> RuntimeObject | None:
        """A runtime by its name; the namespace does not count for a ClusterASRRuntime."""
        return self._runtimes.get(("" if kind == CLUSTER_RUNTIMES.kind else namespace, name))

    def runtime_names(self, kind: str, namespace: str) -> list[str]:
        """The runtimes of a kind that a run in a namespace may name."""
        place = "" if kind == CLUSTER_RUNTIMES.kind else namespace
        return sorted(name for where, name in self._runtimes if where == place)

    def workloads(self, uid: str) -> list[WorkloadView]:
        """A run's workloads, the oldest first."""
        return sorted(
            self._views(uid, WorkloadView), key=lambda view: (view.created, view.attempt, view.name)
        )

    def pods(self, uid: str) -> list[PodView]:
        """A run's pods, the oldest first."""
        return sorted(self._views(uid, PodView), key=lambda view: (view.created, view.name))

    def gone(self, uid: str) -> list[PodView]:
        """Deleted pods of a run's newest attempt, as they were last."""
        return [one.view for one in self._gone.get(uid, {}).values() if isinstance(one.view, PodView)]

    def has_children(self, uid: str) -> bool:
        """Whether a run has workloads or pods."""
        return uid in self._children

    def former(self, run: RunObject) -> list[str]:
        """Workloads of a deleted run of the same name that are still there."""
        identity = run.identity
        label = identity.kind, identity.namespace, label_value(identity.name)
        return sorted(
            one.view.name
            for one in self._by_label.get(label, {}).values()
            if one.run_uid != identity.uid and one.run_uid not in self._runs and _in_the_way(one)
        )

    def _views(self, uid: str, kind: type[T]) -> list[T]:
        """A label can be written by anybody: what is in another namespace is none of the run's."""
        run = self._runs.get(uid)
        return [
            one.view
            for one in self._children.get(uid, {}).values()
            if isinstance(one.view, kind) and (run is None or one.namespace == run.identity.namespace)
        ]

    def _index(self, kept: Kept) -> AbstractSet[str]:
        if isinstance(kept, RunObject):
            self._runs[kept.uid] = kept
            self._named[_name(kept)] = kept.uid
            if kept.identity.evaluation:
                self._evaluations[kept.identity.namespace].add(kept.uid)
            return {kept.uid, *self._neighbours(kept)}
        if isinstance(kept, RuntimeObject):
            self._runtimes[kept.namespace, kept.name] = kept
            return self._users(kept)
        self._children[kept.run_uid][kept.uid] = kept
        self._by_label[_label(kept)][kept.uid] = kept
        return {kept.run_uid, *self._namesakes(kept)}

    def _unindex(self, kept: Kept) -> AbstractSet[str]:
        if isinstance(kept, RunObject):
            self._runs.pop(kept.uid, None)
            self._gone.pop(kept.uid, None)
            if self._named.get(_name(kept)) == kept.uid:
                del self._named[_name(kept)]
            self._evaluations[kept.identity.namespace].discard(kept.uid)
            return {kept.uid, *self._neighbours(kept)}
        if isinstance(kept, RuntimeObject):
            self._runtimes.pop((kept.namespace, kept.name), None)
            return self._users(kept)
        self._keep_last_words(kept)
        _remove(self._children, kept.run_uid, kept.uid)
        _remove(self._by_label, _label(kept), kept.uid)
        return {kept.run_uid, *self._namesakes(kept)}

    def _keep_last_words(self, kept: Child) -> None:
        """Of a pod that has ended; an older attempt's are forgotten, so that they never grow beyond a gang."""
        run = self._runs.get(kept.run_uid)
        if run is None or run.identity.namespace != kept.namespace or not isinstance(kept.view, PodView):
            return
        if not kept.view.ended:
            return
        attempt = kept.view.stage, kept.view.attempt
        before = self._gone.get(kept.run_uid, {})
        same = {
            uid: one
            for uid, one in before.items()
            if isinstance(one.view, PodView) and (one.view.stage, one.view.attempt) == attempt
        }
        self._gone[kept.run_uid] = same | {kept.uid: kept}

    def _neighbours(self, run: RunObject) -> AbstractSet[str]:
        """Evaluations that may wait for this finetune."""
        if run.identity.evaluation:
            return frozenset()
        return self._evaluations.get(run.identity.namespace, frozenset())

    def _users(self, runtime: RuntimeObject) -> AbstractSet[str]:
        """Runs that may use this runtime."""
        where = runtime.namespace if runtime.kind == RUNTIMES.kind else None
        return {one.uid for one in self.runs() if where in {None, one.identity.namespace}}

    def _namesakes(self, kept: Child) -> AbstractSet[str]:
        """A run of the same name that may wait for the end of a deleted one."""
        if kept.run_uid in self._runs:
            return frozenset()
        uid = self._named.get((kept.run_kind, kept.namespace, kept.run_label))
        return frozenset() if uid is None else {uid}


def _name(run: RunObject) -> tuple[str, str, str]:
    return run.identity.kind, run.identity.namespace, label_value(run.identity.name)


def _label(kept: Child) -> tuple[str, str, str]:
    return kept.run_kind, kept.namespace, kept.run_label


def _in_the_way(kept: Child) -> bool:
    """A workload, whose name would be used twice, or a pod that may still write to the output."""
    return not (isinstance(kept.view, PodView) and kept.view.ended)


def _remove(index: dict[K, dict[str, Child]], key: K, uid: str) -> None:
    index.get(key, {}).pop(uid, None)
    if not index.get(key):
        index.pop(key, None)


def _older(version: str, than: str) -> bool:
    """Whether a resourceVersion is older; unknown forms never are."""
    return version.isdigit() and than.isdigit() and int(version) < int(than)
