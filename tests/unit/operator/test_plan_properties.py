"""Any interleaving of events, repeats and losses comes to the same end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from asrtune_api.status import FinetuneStatus, Phase, StageState
from asrtune_api.termination import EndClass
from asrtune_operator.decide.news import gangs
from unit.operator.runs import run_of
from unit.operator.world import World, words

PASSING = [
    (69, EndClass.STORAGE_UNAVAILABLE, ""),
    (70, EndClass.INTERNAL, ""),
    (75, EndClass.INTERRUPTED, ""),
    (137, None, "PreemptionByScheduler"),
    (137, None, "EvictionByEvictionAPI"),
    (143, None, "DeletionByTaintManager"),
    (1, None, ""),
]
POLICY = {"maxRetries": 100, "backoffSeconds": 1, "stallTimeoutSeconds": 600, "maxStallRestarts": 100}


class PlanMachine(RuleBasedStateMachine):
    """Everything that may happen to a run, in any order; the operator plans or dies at any moment."""

    @initialize(queue=st.booleans(), shared=st.booleans())
    def begin(self, queue: bool, shared: bool) -> None:
        spec = {"runPolicy": POLICY, **({"queueName": "q"} if queue else {})}
        if shared:
            spec |= {"execution": {"pods": "Shared"}, "resources": {"nodes": 1, "gpusPerNode": 2}}
        self.world = World(run_of(**spec))
        self.traceless = False
        """Whether an attempt may have gone without anything that tells how it ended."""
        self.unknown = False
        """Whether an attempt may have gone without anything that tells of it: its number is used again."""

    def living(self):
        return [pod for pod in self.world.pods.values() if not pod.ended]

    @rule()
    def plan(self) -> None:
        self.world.step()

    @rule(effects=st.integers(0, 6))
    def plan_and_die(self, effects: int) -> None:
        self.world.step(crash_after=effects)

    @rule()
    def lose_the_status(self) -> None:
        newest = dict(self.world.created)
        # With a stage's newest workload gone too, nothing could know of it: its number is used again.
        if set(newest.items()) <= set(self.world.workloads):
            self.world.status = FinetuneStatus()
            self.traceless = True
            self.world.step()

    @rule(seconds=st.sampled_from([1, 15, 100, 700]))
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    @rule(data=st.data())
    @precondition(lambda self: any(pod.phase == "Pending" for pod in self.living()))
    def start(self, data: st.DataObject) -> None:
        names = [pod.name for pod in self.living() if pod.phase == "Pending"]
        node = data.draw(st.sampled_from(["node-1", "node-2"]))
        self.world.start(data.draw(st.sampled_from(names)), node)

    @rule(data=st.data(), end=st.sampled_from(PASSING))
    @precondition(lambda self: any(pod.running for pod in self.living()))
    def fail(self, data: st.DataObject, end: tuple) -> None:
        name = data.draw(st.sampled_from([pod.name for pod in self.living() if pod.running]))
        code, end_class, disruption = end
        self.world.end(name, code, words(end_class) if end_class else "", disruption=disruption)

    @rule(data=st.data())
    @precondition(lambda self: any(pod.running and not pod.deleting for pod in self.living()))
    def succeed(self, data: st.DataObject) -> None:
        name = data.draw(
            st.sampled_from([pod.name for pod in self.living() if pod.running and not pod.deleting])
        )
        self.world.end(name, 0)

    @rule(data=st.data())
    @precondition(lambda self: any(pod.deleting for pod in self.world.pods.values()))
    def vanish(self, data: st.DataObject) -> None:
        self.world.vanish(
            data.draw(st.sampled_from([p.name for p in self.world.pods.values() if p.deleting]))
        )

    @rule(data=st.data())
    @precondition(lambda self: bool(self.world.workloads))
    def somebody_deletes_a_workload(self, data: st.DataObject) -> None:
        self.world.delete(data.draw(st.sampled_from(sorted(self.world.workloads))))
        self.traceless = True

    @rule(data=st.data())
    @precondition(lambda self: any(one.suspended for one in self.world.workloads.values()))
    def quota_comes(self, data: st.DataObject) -> None:
        keys = sorted(
            key for key, one in self.world.workloads.items() if one.suspended and one.outcome is None
        )
        if keys:
            key = data.draw(st.sampled_from(keys))
            if not any((pod.stage, pod.attempt) == key for pod in self.world.pods.values()):
                self.world.workloads[key] = replace(self.world.workloads[key], suspended=False)
                self.world.make_pods(key)

    @rule(data=st.data())
    @precondition(lambda self: self.world.run.queue is not None and bool(self.world.workloads))
    def quota_goes(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.world.workloads)))
        workload = self.world.workloads[key]
        if workload.outcome is None and not workload.suspended:
            self.world.workloads[key] = replace(workload, suspended=True)
            for pod in [pod for pod in self.world.pods.values() if (pod.stage, pod.attempt) == key]:
                self.world.pods.pop(pod.name)

    @rule()
    def suspend(self) -> None:
        self.world.run = replace(self.world.run, suspend=not self.world.run.suspend)

    @rule(step=st.integers(0, 5))
    def say(self, step: int) -> None:
        running = [key for key in self.world.workloads if any(p.running for p in self.world.pods.values())]
        if running:
            self.world.say(max(running, key=self.world.created.index), step=step)

    @invariant()
    def at_most_one_gang_lives(self) -> None:
        alive = {
            (p.stage, p.attempt) for p in self.world.pods.values() if self.world.alive(p) and not p.deleting
        }
        assert len(alive) <= 1, alive

    @invariant()
    def attempts_only_grow(self) -> None:
        for stage in {key[0] for key in self.world.created}:
            numbers = [number for name, number in self.world.created if name == stage]
            # The operator died before it wrote of an attempt, and somebody deleted all there was of it.
            self.unknown |= max(numbers) > max(self.world.traces(stage), default=0)
            assert self.unknown or numbers == sorted(numbers)

    @invariant()
    def every_change_is_told(self) -> None:
        for _, occasion, one in gangs(self.world.status):
            assert (occasion, "AttemptCreated") in self.world.told
            assert one.finished_at is None or (occasion, f"Attempt{one.verdict}") in self.world.told

    def teardown(self) -> None:
        """Once nothing disturbs it any more, it comes to its end; a second plan of an applied plan is empty."""
        self.world.run = replace(self.world.run, suspend=False)
        for _ in range(60):
            self.world.settle()
            again = self.world.plan()
            assert not again.actions
            assert not again.events
            assert again.status == self.world.status
            if self.world.status.phase is Phase.SUCCEEDED:
                break
            for pod in [pod for pod in self.world.pods.values() if pod.deleting]:
                self.world.vanish(pod.name)
            for key, workload in list(self.world.workloads.items()):
                if workload.suspended and workload.outcome is None:
                    self.world.workloads[key] = replace(workload, suspended=False)
                    self.world.make_pods(key)
            self.world.start_all()
            self.world.step()
            self.world.wait(700 if self.world.progress is None else 11)
            for key, workload in list(self.world.workloads.items()):
                if workload.outcome is None:
                    self.world.succeed(key)
        assert self.world.status.phase is Phase.SUCCEEDED, self.world.status.conditions
        assert all(stage.state is StageState.SUCCEEDED for stage in self.world.status.stages)
        assert self.world.events.count("Complete") == 1
        recorded = {(one.stage, one.attempt) for one in self.world.status.attempts}
        assert self.traceless or len(self.world.created) > 40 or recorded == set(self.world.created)


PlanMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPlan = PlanMachine.TestCase


@pytest.mark.soak
def test_plan_for_long() -> None:
    long = settings(
        max_examples=2000, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(PlanMachine, settings=long)
