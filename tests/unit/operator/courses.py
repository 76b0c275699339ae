"""What happens to a run in many tests: it gets to its training, or to its end."""

from __future__ import annotations

from dataclasses import replace

from asrtune_api.status import ConditionType, Phase
from unit.operator.runs import run_of
from unit.operator.world import World

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
