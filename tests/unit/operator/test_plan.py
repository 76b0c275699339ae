"""What the operator does for a run, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asrtune_api.status import ConditionStatus, ConditionType, Phase, StageState
from asrtune_api.termination import EndClass
from asrtune_operator.actions import CreateGang
from asrtune_operator.observed import Outcome, QueueView, Wait, WaitReason
from unit.operator.runs import run_of
from unit.operator.world import World, words

CER = {
    "score/calls/finetuned": "8.2 7.91 8.51 -3.1 -3.52 -2.71 412 CER",
    "score/calls/base": "11.3 11 12 - - - 412 CER b",
}


def condition(world: World, kind: ConditionType):
    return next((one for one in world.status.conditions if one.type is kind), None)


def at_train(**spec) -> World:
    """A world whose training gang runs."""
    world = World(run_of(**spec))
    world.settle()
    world.start_all()
    world.succeed(("prepare", 1), **{"prepare/utterances": 412.0})
    world.settle()
    world.start_all()
    world.settle()
    return world


def finish(world: World) -> None:
    for _ in range(40):
        world.settle()
        if world.status.phase in {Phase.SUCCEEDED, Phase.FAILED}:
            return
        for key, workload in list(world.workloads.items()):
            if workload.suspended:
                world.workloads[key] = replace(workload, suspended=False)
                world.make_pods(key)
        for name, pod in list(world.pods.items()):
            if pod.deleting:
                world.vanish(name)
        world.start_all()
        world.step()
        world.wait(60)
        for key, workload in list(world.workloads.items()):
            if workload.outcome is None:
                world.succeed(key, **(CER if key[0] == "evaluate" else {}))
    raise AssertionError("the run does not end")


def test_the_chain_runs_stage_by_stage_to_the_end():
    world = World(run_of(price="3.6"))
    finish(world)
    assert world.created == [("prepare", 1), ("train", 1), ("evaluate", 1), ("publish", 1)]
    assert world.status.phase is Phase.SUCCEEDED
    assert {stage.state for stage in world.status.stages} == {StageState.SUCCEEDED}
    assert world.status.best_cer.percent == 8.2
    assert world.status.progress.percent == 100
    assert world.status.usage.gpu_seconds == 60 * 8 + 60
    assert world.status.usage.cost == pytest.approx(0.54)
    assert world.status.artifacts.model == "s3://runs/one/model"
    assert world.events == [
        *["AttemptCreated", "AttemptRunning", "AttemptSucceeded"] * 4,
        "Complete",
    ]


def test_cpu_stages_take_no_gpu_and_the_gang_takes_them_all():
    world = at_train()
    assert {pod.stage: pod.gpus for pod in world.pods.values()} == {"prepare": 0, "train": 4}
    assert sum(pod.stage == "train" for pod in world.pods.values()) == 2


@pytest.mark.parametrize(
    ("code", "end_class", "verdict"),
    [
        (65, EndClass.DATA_INVALID, "DataInvalid"),
        (78, EndClass.SPEC_INVALID, "SpecInvalid"),
        (71, EndClass.OUT_OF_MEMORY, "OutOfMemory"),
        (76, EndClass.DIVERGED, "Diverged"),
    ],
)
def test_users_mistakes_fail_at_once(code, end_class, verdict):
    world = at_train()
    world.end("train-1-1-3", code, words(end_class, "line 7 of calls is broken."))
    world.settle()
    for name in [name for name, pod in world.pods.items() if pod.deleting]:
        world.vanish(name)
    world.settle()
    failed = condition(world, ConditionType.FAILED)
    assert (failed.reason, failed.message) == (verdict, "line 7 of calls is broken. Mend it.")
    assert world.created[-1] == ("train", 1)
    assert world.status.phase is Phase.FAILED


def test_a_passing_failure_is_retried_with_back_off_until_the_retries_are_used_up():
    world = at_train(runPolicy={"maxRetries": 2, "backoffSeconds": 10})
    waits = []
    for attempt in (1, 2, 3):
        for name, pod in list(world.pods.items()):
            if pod.stage == "train":
                world.end(name, 69, words(EndClass.STORAGE_UNAVAILABLE))
        world.settle()
        if attempt < 3:
            assert condition(world, ConditionType.RUNNING).reason == "BackingOff"
            waits.append(world.plan().requeue)
            world.wait(waits[-1])
            world.settle()
            world.start_all()
            world.settle()
    assert waits == [10, 20]
    assert condition(world, ConditionType.FAILED).reason == "StorageUnavailable"
    assert [one for one in world.created if one[0] == "train"] == [("train", 1), ("train", 2), ("train", 3)]


def test_preemption_costs_no_retry_and_recreates_the_whole_gang():
    world = at_train(runPolicy={"maxRetries": 0})
    for attempt in range(1, 8):
        world.wait(100)
        victim, other = (name for name, pod in world.pods.items() if pod.stage == "train" and pod.running)
        world.end(victim, 137, disruption="PreemptionByScheduler")
        world.settle()
        assert ("train", attempt + 1) not in world.created, "its other pod still saves"
        world.end(other, 75, words(EndClass.INTERRUPTED, step=7))
        world.settle()
        assert world.created[-1] == ("train", attempt + 1)
        world.start_all()
        world.settle()
    train = next(one for one in world.status.stages if one.name == "train")
    assert (train.retries, train.interruptions, train.attempts) == (0, 7, 8)
    assert {one.verdict for one in world.status.attempts if one.stage == "train"} == {"Preempted", None}


def test_the_most_telling_end_of_a_gang_is_the_cause():
    world = at_train()
    world.end("train-1-0-2", 75, words(EndClass.INTERRUPTED, "a peer is gone."))
    world.settle()
    world.end("train-1-1-3", 78, words(EndClass.SPEC_INVALID, "no such preset."))
    world.settle()
    assert condition(world, ConditionType.FAILED).reason == "SpecInvalid"


def test_a_lost_node_is_not_waited_for():
    world = at_train()
    world.start("train-1-1-3", node="node-9")
    world.wait(100)
    world.settle()
    world.lost_nodes = frozenset({"node-9"})
    world.settle()
    world.vanish("train-1-0-2")
    world.settle()
    assert world.created[-1] == ("train", 2)
    assert world.status.attempts[1].verdict == "NodeLost"


def test_suspend_saves_releases_and_resumes_with_the_next_attempt():
    world = at_train()
    suspended = replace(world.run, suspend=True)
    resumed = world.run
    world.run = suspended
    world.settle()
    assert world.status.phase is Phase.PENDING
    assert all(pod.deleting for pod in world.pods.values() if pod.stage == "train")
    for name in [name for name, pod in world.pods.items() if pod.deleting]:
        world.vanish(name)
    world.settle()
    assert world.status.phase is Phase.SUSPENDED
    assert condition(world, ConditionType.SUSPENDED).status is ConditionStatus.TRUE
    assert world.created[-1] == ("train", 1)
    world.wait(1000)
    world.run = resumed
    world.settle()
    assert world.created[-1] == ("train", 2)
    assert world.status.paused_seconds == 1000
    finish(world)
    assert world.status.phase is Phase.SUCCEEDED


def test_suspended_from_the_start_makes_nothing():
    world = World(run_of(suspend=True))
    world.settle()
    assert world.created == []
    assert world.status.phase is Phase.SUSPENDED


def test_the_deadline_does_not_count_suspended_time():
    world = at_train(runPolicy={"deadlineSeconds": 500})
    world.wait(499)
    world.settle()
    assert world.status.phase is Phase.RUNNING
    world.wait(1)
    world.settle()
    for name in [name for name, pod in world.pods.items() if pod.deleting]:
        world.vanish(name)
    world.settle()
    assert condition(world, ConditionType.FAILED).reason == "DeadlineExceeded"


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (WaitReason.GPUS_UNAVAILABLE, "Unschedulable"),
        (WaitReason.IMAGE_UNAVAILABLE, "ImagePull"),
        (WaitReason.SECRET_MISSING, "NotStarted"),
    ],
)
def test_the_start_deadline_fails_with_what_was_waited_for(reason, verdict):
    world = World(run_of(runPolicy={"startDeadlineSeconds": 60}))
    world.settle()
    seen = world.observed
    world.observed = lambda: replace(seen(), wait=Wait(reason, "this is why."))
    world.wait(61)
    world.settle()
    failed = condition(world, ConditionType.FAILED)
    assert failed.reason == verdict
    assert "this is why." in failed.message


def test_a_stall_restarts_the_gang_so_many_times():
    world = at_train(runPolicy={"stallTimeoutSeconds": 100, "maxStallRestarts": 1})
    for attempt in (1, 2):
        world.say(("train", attempt), step=attempt, total_steps=10)
        world.settle()
        world.wait(99)
        world.settle()
        assert world.status.phase is Phase.RUNNING
        world.wait(1)
        world.settle()
        assert condition(world, ConditionType.STALLED).status is ConditionStatus.TRUE
        for name in [name for name, pod in world.pods.items() if pod.deleting]:
            world.vanish(name)
        world.settle()
        world.start_all()
        world.settle()
    assert condition(world, ConditionType.FAILED).reason == "Stalled"


def test_who_cannot_be_read_is_not_known_to_hang():
    world = at_train(runPolicy={"stallTimeoutSeconds": 100})
    world.wait(10_000)
    world.settle()
    assert world.status.phase is Phase.RUNNING
    assert condition(world, ConditionType.STALLED).status is ConditionStatus.UNKNOWN


def test_ttl_deletes_the_workloads_and_resurrects_nothing():
    world = World(run_of(runPolicy={"ttlSecondsAfterFinished": 60}))
    finish(world)
    assert world.workloads
    world.wait(61)
    world.settle()
    assert not world.workloads
    world.pods.clear()
    made = list(world.created)
    world.wait(10_000)
    world.settle()
    assert world.created == made
    assert world.status.phase is Phase.SUCCEEDED


def test_a_changed_spec_runs_a_finished_run_again_with_new_attempts():
    world = World(run_of())
    finish(world)
    world.run = replace(run_of(seed=7), generation=2)
    finish(world)
    assert world.created[4:] == [("prepare", 2), ("train", 2), ("evaluate", 2), ("publish", 2)]
    assert world.status.observed_generation == 2


def test_a_changed_spec_ends_what_runs_for_the_old_one():
    world = at_train()
    world.run = replace(run_of(seed=7), generation=2)
    world.settle()
    assert ("prepare", 2) not in world.created, "two gangs"
    for name in [name for name, pod in world.pods.items() if pod.deleting]:
        world.vanish(name)
    world.settle()
    assert world.created[-1] == ("prepare", 2)


def test_a_retry_starts_a_failed_run_again_once():
    world = at_train()
    for name in ("train-1-0-2", "train-1-1-3"):
        world.end(name, 65, words(EndClass.DATA_INVALID))
    world.settle()
    assert world.status.phase is Phase.FAILED
    world.run = replace(world.run, retry="now")
    world.settle()
    assert world.created[-1] == ("train", 2)
    world.start_all()
    for name in [name for name, pod in world.pods.items() if pod.attempt == 2]:
        world.end(name, 65, words(EndClass.DATA_INVALID))
    world.settle()
    assert world.status.phase is Phase.FAILED
    assert world.created[-1] == ("train", 2)


GATE = {"criteria": [{"maxPercent": "5"}]}


def test_a_gate_holds_back_publish():
    world = World(run_of(qualityGate=GATE))
    finish(world)
    assert ("publish", 1) not in world.created
    assert condition(world, ConditionType.FAILED).reason == "QualityGateFailed"
    assert condition(world, ConditionType.QUALITY_GATE_PASSED).status is ConditionStatus.FALSE


def test_a_gate_that_only_reports_lets_it_pass():
    world = World(run_of(qualityGate={**GATE, "onFailure": "Report"}))
    finish(world)
    assert world.status.phase is Phase.SUCCEEDED
    assert condition(world, ConditionType.QUALITY_GATE_PASSED).status is ConditionStatus.FALSE


def test_shared_pods_run_the_whole_chain_in_one_unit():
    world = World(run_of(execution={"pods": "Shared"}, resources={"nodes": 1, "gpusPerNode": 4}))
    finish(world)
    assert world.created == [("prepare", 1)]
    assert {stage.state for stage in world.status.stages} == {StageState.SUCCEEDED}


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


def test_a_lost_status_is_made_up_for_by_what_is_there():
    world = at_train()
    world.status = type(world.status)()
    world.settle()
    assert world.created == [("prepare", 1), ("train", 1)]
    assert world.status.phase is Phase.RUNNING
    assert [one.attempts for one in world.status.stages] == [1, 1, 0, 0]


def test_a_deleted_workload_is_made_again():
    world = at_train()
    world.delete(("train", 1))
    for name in [name for name, pod in world.pods.items() if pod.deleting]:
        world.vanish(name)
    world.settle()
    world.wait(11)
    world.settle()
    assert condition(world, ConditionType.RUNNING).reason == "BackingOff", "it had lived for a moment only"
    world.wait(10)
    world.settle()
    assert world.created[-1] == ("train", 2)
    assert world.status.attempts[1].verdict == "Deleted"


def test_a_refused_gang_is_told_and_tried_again():
    world = World(run_of())
    seen = world.observed
    world.observed = lambda: replace(
        seen(), refused=Wait(WaitReason.RESOURCE_QUOTA_EXCEEDED, "quota x is used up.")
    )
    world.settle()
    assert world.created == []
    assert condition(world, ConditionType.RUNNING).reason == "ResourceQuotaExceeded"
    world.observed = seen
    world.settle()
    assert world.created == [("prepare", 1)]


def test_objects_of_a_former_run_are_waited_for():
    world = World(run_of())
    seen = world.observed
    world.observed = lambda: replace(seen(), former=("one-train-3",))
    world.settle()
    assert world.created == []
    assert condition(world, ConditionType.RUNNING).reason == "EarlierRunEnding"


def test_a_second_plan_asks_for_nothing():
    world = at_train()
    again = world.plan()
    assert (list(again.actions), again.status, list(again.events)) == ([], world.status, [])


def test_graceful_interruptions_lose_nothing_and_kills_lose_what_follows_the_checkpoint():
    world = at_train()
    world.say(("train", 1), step=5, checkpoint_step=5, checkpoint_at=world.now.timestamp() + 40)
    world.settle()
    world.wait(100)
    world.settle()
    for name, pod in list(world.pods.items()):
        if pod.stage == "train":
            world.end(name, 137, disruption="DeletionByTaintManager")
    world.settle()
    record = next(one for one in world.status.attempts if one.stage == "train")
    assert (record.gpu_seconds, record.lost_gpu_seconds) == (800, 480)
    assert world.status.usage.lost[0].reason == "NodeLost"


def test_an_outcome_without_pods_is_an_end_too():
    world = at_train()
    key = ("train", 1)
    world.pods = {name: pod for name, pod in world.pods.items() if pod.stage != "train"}
    world.workloads[key] = replace(
        world.workloads[key], outcome=Outcome.FAILED, reason="DeadlineExceeded", message="x"
    )
    world.settle()
    assert world.status.attempts[1].verdict == "InternalError"
    assert isinstance(world.created[0], tuple)
    assert CreateGang


def test_the_last_workload_stays_though_its_controller_has_not_noticed_its_end_yet():
    world = World(run_of(stages=[{"name": "prepare", "type": "Prepare"}]))
    world.settle()
    world.judge = lambda key: None
    world.start_all()
    world.succeed(("prepare", 1))
    world.settle()
    assert world.status.phase is Phase.SUCCEEDED
    assert ("prepare", 1) in world.workloads, "its pods' logs would be gone"
