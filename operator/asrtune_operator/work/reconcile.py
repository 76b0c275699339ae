"""One look at a run: what is observed goes into the plan, and the plan is carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from asrtune_api.status import RunStatus
from asrtune_operator.act.apply import Applier, StaleError
from asrtune_operator.act.statuses import dump_status, only_ticks, read_status
from asrtune_operator.decide.draft import DONE
from asrtune_operator.decide.plan import plan
from asrtune_operator.decide.verdict import unexplained
from asrtune_operator.follow.nodes import Nodes
from asrtune_operator.follow.resync import read
from asrtune_operator.kube.client import Client
from asrtune_operator.state.objects import RunObject, run_object
from asrtune_operator.state.store import Store
from asrtune_operator.understand.understanding import Understanding
from asrtune_operator.values.actions import CreateGang, Plan
from asrtune_operator.values.kinds import PODS
from asrtune_operator.values.names import RUN_UID
from asrtune_operator.values.observed import Observed, ProgressView, Wait, WaitReason, WorkloadView
from asrtune_operator.values.run import Run, Unready
from asrtune_operator.values.units import Unit
from asrtune_operator.waiting.explainer import Explainer

FIRST_REFUSAL: Final = 5.0
LONGEST_REFUSAL: Final = 60.0
WAIT_GROWTH: Final = 1.25
LONGEST_WAIT: Final = 30.0
"""Seconds after which a reason to wait is looked at anew at the latest."""


@dataclass(slots=True)
class Memory:
    """What is remembered of a run between two looks; lost with the process, without harm."""

    written: float = float("-inf")
    """When its status was written last, by the loop's clock."""
    refused: Wait | None = None
    due: float = 0.0
    """When to try again what was refused."""
    refusals: int = 0
    waits: WaitReason | None = None
    """Why it waited last."""
    same_waits: int = 0
    """How often it has been so since."""
    progress: ProgressView | None = None
    foreseen: tuple[Unit, int, str] | None = None
    """What was foreseen for the stages after an attempt at a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a look needs."""

    client: Client
    store: Store
    applier: Applier
    understanding: Understanding
    nodes: Nodes
    explainer: Explainer
    status_seconds: float
    wait_seconds: float


class Reconciler:
    """Looks at runs, any number at a time, but never at the same one twice."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._memories: dict[str, Memory] = {}

    def memory(self, uid: str) -> Memory:
        """What is remembered of a run."""
        return self._memories.setdefault(uid, Memory())

    def forget(self, uid: str) -> None:
        """A run is gone."""
        self._memories.pop(uid, None)
        self._parts.understanding.forget(uid)

    async def reconcile(self, uid: str) -> float | None:
        """Look at a run. Returns after how many seconds to look again even if nothing happens.

        Raises:
            ApiError: a failure, to be tried again later.
            ApiUnreachableError: the same.
        """
        run = self._parts.store.run(uid)
        if run is None:
            self.forget(uid)
            return None
        if run.deleting:
            return None  # its children have it as their owner: the garbage collector ends them
        try:
            return await self._look(run)
        except StaleError:
            await self._refresh(run)
            return 0.0

    async def _look(self, run: RunObject) -> float | None:
        memory, status = self.memory(run.uid), read_status(run)
        understood = await self._parts.understanding.of(run, status)
        observed = await self._observe(run, understood, status, memory)
        now = datetime.now(UTC)
        made = plan(understood, status, observed, now)
        if isinstance(understood, Run) and (gangs := _gangs(made)):
            refused = await self._parts.applier.create(understood, gangs)
            self._remember(memory, refused)
            if refused is not None:
                made = plan(understood, status, replace(observed, refused=refused), now)
        later = self._later(run, made, memory)
        if later is None:
            await self._parts.applier.tell(run, made)
            if await self._parts.applier.write(run, made):
                memory.written = _clock()
            await self._parts.applier.finish(run, made)
        retry = memory.due - _clock()
        again = self._wait_again(memory, observed.wait)
        return _soonest(made.requeue, later, again, retry if retry > 0 else None)

    def _wait_again(self, memory: Memory, wait: Wait | None) -> float | None:
        """Seconds after which to ask anew why a run waits: soon at first, seldom where the reason stays.

        A thousand runs that wait for GPUs all day must not keep the operator busy.
        """
        if wait is None or wait.reason is not memory.waits:
            memory.same_waits = 0
        else:
            memory.same_waits += 1
        memory.waits = wait.reason if wait is not None else None
        longer = self._parts.wait_seconds * WAIT_GROWTH ** min(memory.same_waits, 20)
        return None if wait is None else min(longer, LONGEST_WAIT)

    def _later(self, run: RunObject, made: Plan, memory: Memory) -> float | None:
        """Seconds for which a status that says nothing but more progress is put off."""
        if made.actions or made.events or not only_ticks(run.status, dump_status(made.status)):
            return None
        left = memory.written + self._parts.status_seconds - _clock()
        return left if left > 0 else None

    async def _observe(
        self, run: RunObject, understood: Run | Unready, status: RunStatus, memory: Memory
    ) -> Observed:
        store = self._parts.store
        workloads: Sequence[WorkloadView] = store.workloads(run.uid)
        followed = {(one.stage, one.attempt) for one in status.attempts if one.finished_at is None}
        if any(
            (one.stage, one.attempt) in followed and unexplained(one, store.pods(run.uid))
            for one in workloads
        ):
            await self._list_pods(run)
        pods = store.pods(run.uid)
        wait, foreseen = None, ""
        if isinstance(understood, Run):
            workloads = await self._parts.explainer.with_queues(understood, workloads)
            wait = await self._parts.explainer.explain(understood, workloads, pods)
            foreseen = await self._foresee(understood, status, memory)
        return Observed(
            workloads=workloads,
            pods=pods,
            gone=store.gone(run.uid),
            progress=memory.progress,
            lost_nodes=await self._parts.nodes.lost(pods),
            wait=wait,
            foreseen=foreseen,
            refused=memory.refused if memory.due > _clock() else None,
            former=store.former(run),
        )

    async def _foresee(self, run: Run, status: RunStatus, memory: Memory) -> str:
        """Once an attempt: whether the stages after it will find nodes, while there is time to make some."""
        states = {one.name: one for one in status.stages}
        rest = [unit for unit in run.units if unit.key not in states or states[unit.key].state not in DONE]
        attempts = states[rest[0].key].attempts if rest and rest[0].key in states else 0
        if not attempts or not rest[1:]:
            return ""
        known = memory.foreseen
        if known is None or known[:2] != (rest[0], attempts):
            found = await self._parts.explainer.foresee(run, rest[1:])
            known = memory.foreseen = (rest[0], attempts, found)
        return known[2]

    async def _list_pods(self, run: RunObject) -> None:
        """The pods' watch may be behind the workloads', and what a pod said last decides what comes next."""
        namespace, labels = run.identity.namespace, f"{RUN_UID}={run.uid}"
        async for manifest in self._parts.client.list(PODS, namespace, labels=labels):
            if (kept := read(PODS, manifest)) is not None:
                self._parts.store.put(PODS, kept)

    async def _refresh(self, run: RunObject) -> None:
        identity = run.identity
        found = await self._parts.client.get(run.resource, identity.namespace, identity.name)
        if found is None or found["metadata"]["uid"] != run.uid:
            self._parts.store.drop(run.resource, run.uid)
        else:
            self._parts.store.put(run.resource, run_object({"kind": identity.kind, **found}))

    def _remember(self, memory: Memory, refused: Wait | None) -> None:
        memory.refused = refused
        memory.refusals = 0 if refused is None else memory.refusals + 1
        if refused is not None:
            memory.due = _clock() + min(FIRST_REFUSAL * 2.0 ** (memory.refusals - 1), LONGEST_REFUSAL)


def _gangs(made: Plan) -> list[CreateGang]:
    return [action for action in made.actions if isinstance(action, CreateGang)]


def _soonest(*seconds: float | None) -> float | None:
    return min((max(0.0, one) for one in seconds if one is not None), default=None)


def _clock() -> float:
    return asyncio.get_running_loop().time()
