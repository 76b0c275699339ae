"""What the operator does as its run policy, its queue, its gate, or its owner wants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asrtune_api.status import ConditionStatus, ConditionType, Phase, StageState
from asrtune_api.termination import EndClass
from asrtune_operator.values.observed import Wait, WaitReason
from unit.operator.courses import at_train, condition, finish
from unit.operator.runs import run_of
from unit.operator.world import World, words


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


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ('Usage of EmptyDir volume "scratch" exceeds the limit "50Gi". ', "spec.pod.scratch.size"),
        ('Usage of EmptyDir volume "shm" exceeds the limit "1Gi". ', "spec.resources.sharedMemory"),
        ("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ", "LimitRange"),
        ('Container pytorch exceeded its local ephemeral storage limit "1Gi". ', "LimitRange"),
    ],
)
def test_more_disk_than_its_limit_fails_at_once_for_the_next_pod_would_take_it_too(message, field):
    world = at_train()
    world.end("train-1-1-3", 137, disruption="TerminationByKubelet")
    world.pods["train-1-1-3"] = replace(world.pods["train-1-1-3"], reason="Evicted", message=message)
    world.settle()
    for name in [name for name, pod in world.pods.items() if pod.deleting]:
        world.vanish(name)
    world.settle()
    failed = condition(world, ConditionType.FAILED)
    assert failed.reason == "DiskLimitExceeded"
    assert message.strip().rstrip(".") in failed.message
    assert field in failed.message


def test_a_node_that_is_short_of_disk_costs_no_retry():
    world = at_train()
    world.end("train-1-1-3", 137, disruption="TerminationByKubelet")
    told = "The node was low on resource: ephemeral-storage. Container pytorch was using 9Gi, request is 0."
    world.pods["train-1-1-3"] = replace(world.pods["train-1-1-3"], reason="Evicted", message=told)
    world.settle()
    assert world.status.attempts[-1].verdict == "Evicted"


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


@pytest.mark.parametrize("again", [False, True])
def test_the_deadline_closes_the_attempt_that_it_ends(again):
    """Also one that waits for its pods, as after a preemption."""
    world = at_train(runPolicy={"deadlineSeconds": 500})
    if again:
        for name in [name for name, pod in world.pods.items() if pod.stage == "train"]:
            world.end(name, 75)
        world.settle()
        world.wait(60)
        world.settle()
        assert world.created[-1] == ("train", 2)
    world.wait(500)
    world.settle()
    for name in [name for name, pod in world.pods.items() if pod.deleting]:
        world.vanish(name)
    world.settle()
    assert world.status.phase is Phase.FAILED
    (*_, last) = world.status.attempts
    assert (last.attempt, last.verdict) == (1 + again, "DeadlineExceeded")
    assert last.finished_at is not None
    assert [one.state for one in world.status.stages if one.name == "train"] == ["Failed"]


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


def test_a_long_validation_is_no_stall_as_long_as_its_batches_go_on():
    world = at_train(runPolicy={"stallTimeoutSeconds": 100})
    for reports in range(5):
        world.say(("train", 1), step=4, total_steps=10, work_reports=reports)
        world.settle()
        world.wait(60)
        assert world.status.phase is Phase.RUNNING
    world.say(("train", 1), step=4, total_steps=10, work_reports=4)
    world.wait(41)
    world.settle()
    assert world.status.attempts[-1].verdict == "Stalled"


def test_how_long_it_takes_is_not_told_of_a_run_that_waits():
    world = at_train()
    world.say(("train", 1), step=4, total_steps=10, stage_percent=40, eta_seconds=600)
    world.settle()
    assert (world.status.progress.eta, world.status.progress.stage_percent) == ("10m", 40)
    name, *others = (name for name, pod in world.pods.items() if pod.stage == "train")
    world.end(name, 137, reason="OOMKilled")
    for other in others:
        world.vanish(other)
    world.settle()
    assert (world.status.progress.eta, world.status.progress.stage_percent) == (None, None)
    assert (world.status.progress.step, world.status.progress.total_steps) == (4, 10)


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


@pytest.mark.parametrize(("code", "verdict"), [(0, "Succeeded"), (65, "DataInvalid"), (137, "InternalError")])
def test_what_ended_as_the_spec_changed_ended_as_it_did_and_counts_for_the_old_spec_alone(code, verdict):
    world = at_train(runPolicy={"maxRetries": 0})
    for name in [name for name, pod in world.pods.items() if pod.stage == "train"]:
        world.end(name, code, words(EndClass.DATA_INVALID) if code == 65 else "")
    world.run = replace(run_of(seed=7, runPolicy={"maxRetries": 0}), generation=2)
    world.settle()
    told = [one for one in world.status.attempts if one.stage == "train"]
    assert [(one.verdict, one.finished_at is not None) for one in told] == [(verdict, True)]
    assert f"Attempt{verdict}" in world.events
    assert world.created[-1] == ("prepare", 2)
    finish(world)
    assert world.status.phase is Phase.SUCCEEDED


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


def test_a_retry_ends_a_back_off_and_gives_all_tries_anew():
    world = at_train(runPolicy={"maxRetries": 2, "backoffSeconds": 300})
    for attempt in (1, 2, 3):
        assert world.created[-1] == ("train", attempt)
        for name in [
            name for name, pod in world.pods.items() if (pod.stage, pod.attempt) == ("train", attempt)
        ]:
            world.end(name, 69, words(EndClass.STORAGE_UNAVAILABLE))
        world.settle()
        world.wait(20)  # the workload's pods are all gone
        world.settle()
        assert condition(world, ConditionType.RUNNING).reason == "BackingOff"
        world.run = replace(world.run, retry=f"time {attempt}")
        world.settle()
        world.start_all()
        world.settle()
    assert world.created[-1] == ("train", 4)
    assert world.status.phase is Phase.RUNNING


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
