"""What the operator does as a run goes on, and as its pods end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asrtune_api.status import ConditionType, Phase, StageState
from asrtune_api.termination import EndClass, SavedCheckpoint
from asrtune_operator.values.observed import Outcome
from unit.operator.courses import at_train, condition, finish
from unit.operator.runs import run_of
from unit.operator.world import World, words


def test_attempts_that_were_never_written_down_are_counted_all_the_same() -> None:
    world = World(run_of(runPolicy={"backoffSeconds": 1, "maxRetries": 5}))
    world.step(crash_after=1)
    world.start_all()
    world.end(next(iter(world.pods)), 70, words(EndClass.INTERNAL))
    world.wait(15)
    world.step(crash_after=1)
    assert world.created == [("prepare", 1), ("prepare", 2)]
    finish(world)
    ends = [(one.stage, one.attempt, one.verdict) for one in world.status.attempts]
    assert ends[:2] == [("prepare", 1, "InternalError"), ("prepare", 2, "Succeeded")]
    assert world.status.stages[0].retries == 1


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


def test_a_preempted_pod_that_is_gone_before_it_was_looked_at_is_the_cause():
    """Without a finalizer, as a PyTorchJob's, it is gone as soon as it has ended."""
    world = at_train(runPolicy={"maxRetries": 0})
    victim, other = (name for name, pod in world.pods.items() if pod.stage == "train")
    world.end(victim, 75, disruption="PreemptionByScheduler")
    seen, gone = world.observed, world.pods.pop(victim)
    world.observed = lambda: replace(seen(), gone=(gone,))
    world.end(other, 75)
    world.pods.pop(other)
    world.settle()
    record = next(one for one in world.status.attempts if one.stage == "train")
    assert record.verdict == "Preempted"
    assert world.status.phase is not Phase.FAILED


@pytest.mark.parametrize("told", [False, True])
def test_an_end_counts_though_the_operator_died_after_it_made_the_next_attempt(told):
    world = at_train()
    world.wait(100)
    first, second = (name for name, pod in world.pods.items() if pod.stage == "train")
    world.end(first, 75)
    if told:
        world.step()
    world.end(second, 75)
    world.wait(100)
    world.step(crash_after=1)
    assert world.created[-1] == ("train", 2)
    world.settle()
    train = next(one for one in world.status.stages if one.name == "train")
    assert (train.interruptions, train.attempts) == (1, 2)
    assert [one.verdict for one in world.status.attempts if one.stage == "train"] == ["Interrupted", None]
    assert world.status.attempts[-2].finished_at is not None


def test_a_gang_runs_until_its_last_pod_has_ended():
    """A kubelet tells of a container's end before the pod's phase is another one."""
    world = at_train()
    name = next(name for name, pod in world.pods.items() if pod.stage == "train")
    ended = replace(world.pods[name].container, exit_code=0, finished=world.now)
    world.pods[name] = replace(world.pods[name], container=ended)
    world.settle()
    assert world.status.phase is Phase.RUNNING


def test_the_last_figures_of_the_training_stay_while_other_pods_evaluate():
    world = at_train()
    world.say(("train", 1), step=9, total_steps=10, last_loss=1.25, checkpoint_step=9)
    world.settle()
    world.succeed(("train", 1))
    world.settle()
    world.start_all()
    world.say(("evaluate", 1), stage_percent=50)
    world.settle()
    progress = world.status.progress
    assert (progress.step, progress.total_steps, float(progress.loss), progress.checkpoint_step) == (
        9,
        10,
        1.25,
        9,
    )
    assert float(progress.stage_percent) == 50


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


@pytest.mark.parametrize(("saved", "lost"), [(9, 0), (5, 480)])
def test_what_is_saved_on_the_way_out_is_taken_from_the_leaders_last_words(saved: int, lost: int) -> None:
    world = at_train()
    at = world.now.timestamp() + 40
    world.say(("train", 1), step=7, checkpoint_step=5, checkpoint_at=at)
    world.settle()
    world.wait(100)
    world.settle()
    checkpoint = SavedCheckpoint(step=saved, time=world.now.timestamp() if saved == 9 else at)
    for name, pod in list(world.pods.items()):
        if pod.stage == "train":
            said = words(EndClass.INTERRUPTED, step=9, checkpoint=None if pod.rank else checkpoint)
            world.end(name, 75, said, disruption="EvictionByEvictionAPI")
    world.settle()
    record = next(one for one in world.status.attempts if one.stage == "train")
    assert (record.verdict, record.lost_gpu_seconds) == ("Evicted", lost)
    assert (world.status.progress.step, world.status.progress.checkpoint_step) == (9, saved)


def test_the_trainings_last_figures_stay_while_other_pods_evaluate():
    world = at_train(runPolicy={"stallTimeoutSeconds": 100})
    at = world.now.timestamp()
    figures = {
        "step": 320,
        "total_steps": 320,
        "last_loss": 53.5,
        "throughput": {"utterances_per_second": 9.5},
    }
    world.say(("train", 1), stage_percent=100, checkpoint_step=320, checkpoint_at=at, **figures)
    world.settle()
    world.succeed(("train", 1))
    world.settle()
    world.start_all()
    world.settle()
    world.say(("evaluate", 1), stage_percent=40)
    world.settle()
    progress = world.status.progress
    assert progress.stage_percent == 40
    assert (progress.step, progress.total_steps, progress.checkpoint_step) == (320, 320, 320)
    assert (progress.loss, progress.utterances_per_second) == (53.5, 9.5)
    world.say(("evaluate", 1), stage_percent=10)
    world.settle()
    assert world.status.progress.percent < progress.percent, "its work is done again"
    world.say(("evaluate", 1), stage_percent=40)
    world.settle()
    world.wait(101)
    world.settle()
    (stalled,) = (one for one in world.status.attempts if one.verdict == "Stalled")
    assert "at step" not in stalled.message


def test_the_last_figures_stay_until_a_resumed_training_has_some():
    world = at_train()
    world.say(("train", 1), step=75, total_steps=237, stage_percent=32, checkpoint_step=75)
    world.settle()
    percent = world.status.progress.percent
    world.end("train-1-0-2", 75, words(EndClass.INTERRUPTED))
    for name in [name for name, pod in world.pods.items() if not pod.ended]:
        world.vanish(name)
    world.settle()
    world.wait(60)
    world.settle()
    world.start_all()
    world.settle()
    world.say(("train", 2))
    world.settle()
    assert world.status.phase is Phase.RUNNING
    progress = world.status.progress
    assert (progress.step, progress.checkpoint_step, progress.percent) == (75, 75, percent)
    world.say(("train", 2), step=1, total_steps=237, stage_percent=0.4)
    world.settle()
    progress = world.status.progress
    assert (progress.step, progress.checkpoint_step) == (1, None), "its checkpoint could not be used"
    assert progress.percent < percent


def test_an_outcome_without_pods_is_an_end_too():
    world = at_train()
    key = ("train", 1)
    world.pods = {name: pod for name, pod in world.pods.items() if pod.stage != "train"}
    world.workloads[key] = replace(
        world.workloads[key], outcome=Outcome.FAILED, reason="DeadlineExceeded", message="x"
    )
    world.settle()
    assert world.status.attempts[1].verdict == "InternalError"


def test_the_last_workload_stays_though_its_controller_has_not_noticed_its_end_yet():
    world = World(run_of(stages=[{"name": "prepare", "type": "Prepare"}]))
    world.settle()
    world.judge = lambda _: None
    world.start_all()
    world.succeed(("prepare", 1))
    world.settle()
    assert world.status.phase is Phase.SUCCEEDED
    assert ("prepare", 1) in world.workloads, "its pods' logs would be gone"


def test_a_container_that_cannot_start_fails_at_once():
    world = World(run_of(runPolicy={"maxRetries": 5}))
    world.settle()
    world.end(
        "prepare-1-0-1", 128, 'exec: "asrtune": executable file not found in $PATH', reason="StartError"
    )
    world.settle()
    failed = condition(world, ConditionType.FAILED)
    assert failed.reason == "NotStarted"
    assert "executable file not found" in failed.message
    assert "runAsUser" in failed.message
