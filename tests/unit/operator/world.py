"""A cluster in small, for tests of `plan`: it does what plans ask, and its pods do what a test wants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from asrtune_api.policy import Backend
from asrtune_api.progress import ProgressDocument
from asrtune_api.status import FinetuneStatus, RunStatus
from asrtune_api.termination import EndClass, SavedCheckpoint, TerminationMessage
from asrtune_operator.decide.plan import plan
from asrtune_operator.values.actions import CreateGang, DeleteWorkload, Event, Plan
from asrtune_operator.values.observed import (
    ConditionView,
    ContainerView,
    Observed,
    Outcome,
    PodView,
    ProgressView,
    WorkloadView,
)
from asrtune_operator.values.run import Run
from unit.operator.runs import START

Key = tuple[str, int]


@dataclass
class World:
    """Truth: what exists. A workload's pods appear when it is not suspended, and go when it is deleted."""

    run: Run
    now: datetime = START
    status: RunStatus = field(default_factory=FinetuneStatus)
    workloads: dict[Key, WorkloadView] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    progress: ProgressView | None = None
    lost_nodes: frozenset[str] = frozenset()
    created: list[Key] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    told: set[tuple[str, str]] = field(default_factory=set)
    """Occasion and reason of every event, as the API server keeps one of each."""
    counter: int = 0

    def observed(self) -> Observed:
        return Observed(
            workloads=tuple(self.workloads.values()),
            pods=tuple(self.pods.values()),
            progress=self.progress,
            lost_nodes=self.lost_nodes,
        )

    def plan(self) -> Plan:
        return plan(self.run, self.status, self.observed(), self.now)

    def step(self, *, crash_after: int | None = None) -> Plan:
        """Plan and apply. `crash_after`: the operator dies after so many of the plan's effects."""
        made = self.plan()
        effects = [one for one in made.actions if isinstance(one, CreateGang)]
        rest = [one for one in made.actions if isinstance(one, DeleteWorkload)]
        steps = [*effects, *made.events, made.status, *rest]
        for one in steps[:crash_after]:
            match one:
                case Event():
                    if (one.occasion, one.reason) not in self.told:
                        self.events.append(one.reason)
                    self.told.add((one.occasion, one.reason))
                case RunStatus():
                    self.status = one
                case _:
                    self.apply(one)
        return made

    def settle(self, limit: int = 30) -> None:
        """Plan and apply until nothing changes."""
        for _ in range(limit):
            before = (self.status, tuple(self.workloads), tuple(self.pods))
            made = self.step()
            if not made.actions and (self.status, tuple(self.workloads), tuple(self.pods)) == before:
                return
        raise AssertionError("plans do not come to rest")

    def apply(self, action: CreateGang | DeleteWorkload) -> None:
        if isinstance(action, DeleteWorkload):
            view = action.workload
            self.delete((view.stage, view.attempt))
            return
        key = (action.unit.key, action.attempt)
        assert key not in self.workloads, f"{key} made twice"
        assert action.attempt > max(self.traces(action.unit.key), default=0), f"{key} was there before"
        alive = [pod.name for pod in self.pods.values() if self.alive(pod)]
        assert not alive, f"{key} is made while {alive} live"
        self.created.append(key)
        self.workloads[key] = WorkloadView(
            backend=Backend.JOB,
            name=self.run.workload_name(action.unit, action.attempt),
            uid=f"w{len(self.created)}",
            stage=action.unit.key,
            attempt=action.attempt,
            run_spec=self.run.spec_name,
            created=self.now,
            suspended=self.run.queue is not None,
        )
        if self.run.queue is None:
            self.make_pods(key)

    def traces(self, stage: str) -> list[int]:
        """Attempts at a stage of which something tells: a workload, a pod, the status."""
        children = (*self.workloads.values(), *self.pods.values())
        told = [one.attempts for one in self.status.stages if one.name == stage]
        return [*told, *(one.attempt for one in children if one.stage == stage)]

    def alive(self, pod: PodView) -> bool:
        return not pod.ended and pod.node not in self.lost_nodes

    def make_pods(self, key: Key) -> None:
        unit = next(one for one in self.run.units if one.key == key[0])
        for rank in range(unit.nodes):
            self.counter += 1
            name = f"{key[0]}-{key[1]}-{rank}-{self.counter}"
            self.pods[name] = PodView(
                name=name,
                uid=name,
                stage=key[0],
                attempt=key[1],
                run_spec=self.workloads[key].run_spec,
                rank=rank,
                created=self.now,
                gpus=unit.gpus,
            )

    def start(self, name: str, node: str = "node-1") -> None:
        self.pods[name] = replace(
            self.pods[name], phase="Running", node=node, container=ContainerView(started=self.now)
        )

    def start_all(self) -> None:
        for name, pod in self.pods.items():
            if pod.phase == "Pending":
                self.start(name)

    def end(self, name: str, code: int, message: str = "", reason: str = "", disruption: str = "") -> None:
        pod = self.pods[name]
        conditions = {"DisruptionTarget": ConditionView("True", disruption)} if disruption else {}
        container = replace(
            pod.container,
            exit_code=code,
            ended_reason=reason or ("Completed" if code == 0 else "Error"),
            message=message,
            started=pod.container.started or self.now,
            finished=self.now,
        )
        phase = "Succeeded" if code == 0 else "Failed"
        self.pods[name] = replace(pod, phase=phase, container=container, conditions=conditions)
        self.judge((pod.stage, pod.attempt))

    def judge(self, key: Key) -> None:
        """What a Job's controller does: complete when all pods are, failed and rid of the others when one is."""
        workload = self.workloads.get(key)
        if workload is None or workload.outcome is not None:
            return
        mine = [pod for pod in self.pods.values() if (pod.stage, pod.attempt) == key]
        if any(pod.phase == "Failed" for pod in mine):
            self.workloads[key] = replace(workload, outcome=Outcome.FAILED, reason="PodFailurePolicy")
            for pod in mine:
                if not pod.ended:
                    self.pods[pod.name] = replace(pod, deleting=self.now + timedelta(seconds=300))
        elif mine and all(pod.phase == "Succeeded" for pod in mine):
            self.workloads[key] = replace(workload, outcome=Outcome.SUCCEEDED)

    def succeed(self, key: Key, **results: str | float) -> None:
        """All pods of an attempt end well; rank 0 with results."""
        for pod in [pod for pod in self.pods.values() if (pod.stage, pod.attempt) == key and not pod.ended]:
            said = TerminationMessage.done(results=results) if pod.rank == 0 else TerminationMessage.done()
            self.end(pod.name, 0, said.encode().decode())

    def delete(self, key: Key) -> None:
        """Background deletion: the workload goes at once; pods that ended, too; the others are asked to stop."""
        self.workloads.pop(key, None)
        for pod in [pod for pod in self.pods.values() if (pod.stage, pod.attempt) == key]:
            if pod.ended or pod.phase == "Pending":
                del self.pods[pod.name]
            else:
                self.pods[pod.name] = replace(pod, deleting=self.now + timedelta(seconds=300))

    def vanish(self, name: str) -> None:
        """A pod that was asked to stop saves, ends, and is gone."""
        del self.pods[name]

    def say(self, key: Key, **values: object) -> None:
        """Rank 0 of an attempt answers at /progress."""
        document = ProgressDocument.model_validate({"run": "one", "stage": key[0], **values})
        before = self.progress
        if before is not None and (before.stage, before.attempt) == key:
            self.progress = before.followed_by(document, self.now)
        else:
            self.progress = ProgressView(key[0], key[1], document, self.now)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def words(
    end_class: EndClass,
    message: str = "It was wrong.",
    step: int | None = None,
    checkpoint: SavedCheckpoint | None = None,
) -> str:
    """A termination message."""
    said = TerminationMessage(
        end_class=end_class, message=message, remedy="Mend it.", step=step, checkpoint=checkpoint
    )
    return said.encode().decode()
