"""A workload's end that no known pod explains: the pods' watch is behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asrtune_operator.decide.verdict import unexplained
from asrtune_operator.values.observed import Outcome
from unit.operator.courses import at_train
from unit.operator.world import World


def gang(outcome: Outcome | None, *codes: int | None) -> World:
    """A training gang whose pods have ended so; None: the last that is known is that it runs."""
    world = at_train()
    key = ("train", 1)
    names = [name for name, pod in world.pods.items() if (pod.stage, pod.attempt) == key]
    for name, code in zip(names, codes, strict=True):
        if code is not None:
            world.end(name, code)
    world.workloads[key] = replace(world.workloads[key], outcome=outcome)
    return world


@pytest.mark.parametrize(
    ("outcome", "codes", "expected"),
    [
        (None, (None, None), False),
        (None, (65, None), False),
        (Outcome.FAILED, (None, None), True),
        (Outcome.FAILED, (None, 65), False),
        (Outcome.FAILED, (0, None), True),
        (Outcome.SUCCEEDED, (None, None), True),
        (Outcome.SUCCEEDED, (None, 0), True),
        (Outcome.SUCCEEDED, (0, None), False),
    ],
)
def test_the_end_of_a_gang(
    outcome: Outcome | None, codes: tuple[int | None, int | None], expected: bool
) -> None:
    world = gang(outcome, *codes)
    assert unexplained(world.workloads["train", 1], list(world.pods.values())) is expected
