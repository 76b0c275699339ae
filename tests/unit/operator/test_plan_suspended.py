"""Workloads that are suspended, by a queue that waits for quota or takes it back, or by somebody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asrtune_api.status import ConditionType, Phase
from asrtune_api.termination import EndClass
from asrtune_operator.values.observed import QueueView, Wait, WaitReason
from unit.operator.courses import at_train, condition, finish
from unit.operator.runs import run_of
from unit.operator.world import World, words


def test_a_queued_workload_waits_for_quota_and_is_queued_again_when_it_is_taken_back():
    world = World(run_of(queueName="q"))
    world.settle()
    assert world.status.phase is Phase.QUEUED
    key = ("prepare", 1)
    world.workloads[key] = replace(
        world.workloads[key], suspended=False, queue=QueueView("q", reserved=True, admitted=True)
    )
    world.make_pods(key)
    world.start_all()
    world.settle()
    assert world.status.phase is Phase.RUNNING
    world.workloads[key] = replace(
        world.workloads[key],
        suspended=True,
        queue=QueueView("q", reason="Preempted", message="for a higher priority"),
    )
    world.pods.clear()
    world.settle()
    assert world.status.phase is Phase.QUEUED
    assert world.created == [key], "the workload keeps its place"
    assert [one.verdict for one in world.status.attempts] == ["Preempted", None]
    finish(world)
    assert world.status.phase is Phase.SUCCEEDED


def test_pods_that_end_since_somebody_suspended_their_job_end_no_attempt():
    """Before all of them ran: the Job's controller deletes them, and they may be seen to end on their way."""
    world = World(run_of())
    world.settle()
    key = ("prepare", 1)
    world.workloads[key] = replace(world.workloads[key], suspended=True)
    seen = world.observed
    waits = Wait(WaitReason.EXTERNALLY_SUSPENDED, "Somebody has suspended Job one-prepare-1.")
    world.observed = lambda: replace(seen(), wait=waits)
    world.judge = lambda _: None
    (name,) = world.pods
    world.end(name, 143)
    world.wait(5)
    world.settle()
    assert condition(world, ConditionType.RUNNING).reason == "ExternallySuspended"
    assert [one.verdict for one in world.status.attempts] == [None]
    world.observed = seen
    world.workloads[key] = replace(world.workloads[key], suspended=False)
    world.vanish(name)
    world.make_pods(key)
    world.start_all()
    world.settle()
    assert world.status.phase is Phase.RUNNING
    assert world.created == [key]


@pytest.mark.parametrize("code", [75, 137, 143])
def test_a_job_that_is_resumed_before_its_old_pods_have_ended_goes_on(code):
    world = World(run_of())
    world.settle()
    key = ("prepare", 1)
    world.judge = lambda _: None
    (old,) = world.pods
    world.workloads[key] = replace(world.workloads[key], suspended=True)
    world.pods[old] = replace(world.pods[old], deleting=world.now)
    world.settle()
    world.wait(3)
    world.workloads[key] = replace(world.workloads[key], suspended=False)
    world.make_pods(key)
    world.end(old, code)
    world.settle()
    world.vanish(old)
    world.start_all()
    world.settle()
    assert world.created == [key]
    assert [(one.verdict, one.started_at is not None) for one in world.status.attempts] == [(None, True)]


def test_a_pod_that_somebody_deletes_before_it_runs_is_why_its_job_has_failed():
    """It costs no retry: a Job whose controller replaces no pods would count as our fault otherwise."""
    world = World(run_of())
    world.settle()
    (name,) = world.pods
    world.pods[name] = replace(world.pods[name], deleting=world.now)
    world.end(name, 143)
    world.settle()
    assert world.status.attempts[0].verdict == "Interrupted"


def test_a_gang_that_succeeded_has_succeeded_though_its_job_is_suspended_before_it_says_so():
    world = at_train()
    world.judge = lambda _: None
    world.workloads["train", 1] = replace(world.workloads["train", 1], suspended=True)
    world.succeed(("train", 1), **{"train/cer": 8.25})
    world.settle()
    ends = {one.stage: one.verdict for one in world.status.attempts}
    assert ends["train"] == "Succeeded"
    (train,) = [one for one in world.status.stages if one.name == "train"]
    assert train.metrics


def test_the_deadline_holds_while_a_suspended_gang_does_not_end():
    world = at_train(runPolicy={"deadlineSeconds": 200})
    world.workloads["train", 1] = replace(world.workloads["train", 1], suspended=True)
    world.settle()
    world.wait(300)
    world.settle()
    assert ("train", 1) not in world.workloads
    assert world.status.attempts[-1].verdict == "DeadlineExceeded"


def test_the_pods_of_the_gang_that_lost_its_quota_do_not_end_the_next_one():
    world = World(run_of(queueName="q"))
    world.settle()
    key = ("prepare", 1)
    world.workloads[key] = replace(world.workloads[key], suspended=False)
    world.make_pods(key)
    world.start_all()
    world.wait(30)
    world.settle()
    world.workloads[key] = replace(world.workloads[key], suspended=True)
    world.judge = lambda _: None
    for name in list(world.pods):
        world.end(name, 75, words(EndClass.INTERRUPTED))
    world.wait(5)
    world.settle()
    assert [one.verdict for one in world.status.attempts] == ["Preempted", None]
    world.wait(60)
    world.workloads[key] = replace(world.workloads[key], suspended=False)
    world.make_pods(key)
    world.start_all()
    world.settle()
    assert world.status.phase is Phase.RUNNING
    assert [one.verdict for one in world.status.attempts] == ["Preempted", None]
    assert world.created == [key]
