"""A node's clock is an hour off: times that its kubelet tells are not believed beyond what the API server's allow."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from asrtune_api.status import ConditionType
from asrtune_api.termination import EndClass
from unit.operator.courses import condition
from unit.operator.runs import run_of
from unit.operator.world import World, words


@pytest.fixture(params=[-1, 1], ids=["slow", "fast"])
def hours(request: pytest.FixtureRequest) -> int:
    return request.param


def at_train(hours: int, **spec: object) -> World:
    world = World(run_of(**spec))
    world.settle()
    world.start_all()
    world.succeed(("prepare", 1), **{"prepare/utterances": 412.0})
    world.settle()
    world.wait(5)
    world.start_all()
    for name in gang(world):
        container = world.pods[name].container
        begun = replace(container, started=world.now + timedelta(hours=hours))
        world.pods[name] = replace(world.pods[name], container=begun)
    world.settle()
    return world


def gang(world: World) -> list[str]:
    return [name for name, pod in world.pods.items() if pod.stage == "train"]


def test_progress_is_seen_and_a_stall_noticed(hours):
    world = at_train(hours, runPolicy={"stallTimeoutSeconds": 100})
    world.say(("train", 1), step=3, total_steps=10)
    world.settle()
    assert world.status.progress.step == 3
    world.wait(101)
    world.settle()
    assert world.status.attempts[-1].verdict == "Stalled"


def test_the_deadline_is_kept(hours):
    world = at_train(hours, runPolicy={"deadlineSeconds": 200})
    world.wait(150)
    world.settle()
    assert not gone(world)
    world.wait(100)
    world.settle()
    for name in gone(world):
        world.vanish(name)
    world.settle()
    assert condition(world, ConditionType.FAILED).reason == "DeadlineExceeded"


def test_a_second_of_skew_does_not_bill_the_wait_for_a_gpu(hours):
    world = World(run_of())
    world.settle()
    world.start_all()
    world.succeed(("prepare", 1), **{"prepare/utterances": 412.0})
    world.settle()
    world.wait(5 * 3600)
    world.start_all()
    for name in gang(world):
        begun = replace(world.pods[name].container, started=world.now + timedelta(seconds=hours))
        world.pods[name] = replace(world.pods[name], container=begun)
    world.settle()
    world.wait(100)
    world.settle()
    gpus = sum(world.pods[name].gpus for name in gang(world))
    assert world.status.usage.gpu_seconds == pytest.approx(100 * gpus, abs=2 * gpus)


def test_a_clock_that_is_set_while_a_pod_runs_bills_no_more_than_its_life():
    world = at_train(-3)
    gpus = sum(world.pods[name].gpus for name in gang(world))
    world.wait(100)
    for name in gang(world):
        started = world.pods[name].container.started
        world.end(name, 75, words(EndClass.INTERRUPTED))
        ended = replace(world.pods[name].container, started=started, finished=world.now)
        world.pods[name] = replace(world.pods[name], container=ended)
    world.settle()
    closed = next(one for one in world.status.attempts if one.stage == "train")
    assert closed.gpu_seconds == pytest.approx(100 * gpus, abs=10 * gpus)


def test_the_rest_of_a_gang_is_not_waited_for_longer_than_by_right_clocks(hours):
    world = at_train(hours)
    world.judge = lambda _: None
    first, *others = gang(world)
    world.end(first, 70, words(EndClass.INTERNAL))
    told = replace(world.pods[first].container, finished=world.now + timedelta(hours=hours))
    world.pods[first] = replace(world.pods[first], container=told)
    world.settle()
    world.wait(40)
    world.settle()
    assert all(world.pods[name].deleting for name in others)


def gone(world: World) -> list[str]:
    return [name for name, pod in world.pods.items() if pod.deleting]


def test_gpu_seconds_are_those_that_passed(hours):
    world = at_train(hours)
    gpus = sum(world.pods[name].gpus for name in gang(world))
    world.wait(100)
    world.settle()
    assert world.status.usage.gpu_seconds == pytest.approx(100 * gpus, abs=10 * gpus)
    for name in gang(world):
        started = world.pods[name].container.started
        world.end(name, 75, words(EndClass.INTERRUPTED))
        ended = replace(
            world.pods[name].container, started=started, finished=started + timedelta(seconds=100)
        )
        world.pods[name] = replace(world.pods[name], container=ended)
    world.settle()
    closed = next(one for one in world.status.attempts if one.stage == "train")
    assert closed.verdict == "Interrupted"
    assert closed.gpu_seconds == pytest.approx(100 * gpus, abs=10 * gpus)
    assert closed.started_at <= closed.finished_at <= world.now
