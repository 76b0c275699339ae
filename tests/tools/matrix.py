"""One fault of the matrix: it befalls a gang that trains, and the row of the table says what came of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cluster.cluster import Cluster
from cluster.nodes import Nodes
from cluster.operator import Operator
from tools.on_nodes import SLOW, RealRun, same

TRAINING = 5
"""Step at which things happen."""
ENDS = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Site:
    """Where a run is, and what can be done to it there."""

    cluster: Cluster
    nodes: Nodes
    operator: Operator
    run: RealRun


Act = Callable[[Site], None]


@dataclass(frozen=True)
class Fault:
    """Something that happens while a gang trains.

    Attributes:
        name: for the table.
        act: does it; returns when it is over, or goes on by itself.
        verdicts: of the attempts at Train, by which of them each may end; the last is the one that succeeds. One that
            may be `-` need not have been made.
        spec: further fields of the run's spec.
        most_lost: steps that may have to be done again by the next attempt; None: those since the last checkpoint.
    """

    name: str
    act: Act
    verdicts: tuple[frozenset[str], ...]
    spec: dict[str, Any] = field(default_factory=dict)
    most_lost: int | None = None

    @property
    def run_name(self) -> str:
        """Name of the run that it befalls."""
        return run_name(self.name)


def run_name(text: str) -> str:
    """A text for people as a name of an object."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-")


def fault(name: str, act: Act, *verdicts: str, most_lost: int | None = None, **spec: Any) -> Fault:
    """Verdicts as `A|B`, where it depends on who notices first."""
    ends = tuple(frozenset(one.split("|")) for one in verdicts)
    return Fault(name, act, ends, spec, most_lost)


def befall(fault: Fault, site: Site, undisturbed: RealRun) -> None:
    """Let it happen to a run. Prints its row: verdicts, seconds until it trains again, steps done twice.

    Raises:
        AssertionError: other verdicts than the fault's, more steps lost, or other losses or weights than undisturbed.
    """
    run = site.run
    run.apply()
    run.wait_for_step(TRAINING)
    began = time.monotonic()
    fault.act(site)
    reached = run.status().get("progress", {}).get("step", 0)
    again = None
    if len(fault.verdicts) > 1:
        run.wait(
            lambda status: status["phase"] in ENDS or run.attempts("train")[1:], "the next attempt", SLOW
        )
        reached = max(reached, last_step(run, 1))
    if run.attempts("train")[1:]:
        run.wait(lambda _: last_step(run, newest(run)) > 0, "its steps", SLOW)
        again = time.monotonic() - began
    run.wait_phase("Succeeded", SLOW)
    ends = [one["verdict"] for one in run.attempts("train")]
    lost = max(0, reached - resumed(run)) if again is not None else 0
    row(fault.name, ", ".join(ends), "-" if again is None else f"{again:.0f} s", lost)
    wanted = [one for one in fault.verdicts if len(ends) == len(fault.verdicts) or "-" not in one]
    assert len(ends) == len(wanted), run.attempts("train")
    assert all(end in allowed for end, allowed in zip(ends, wanted, strict=True)), ends
    assert fault.most_lost is None or lost <= fault.most_lost
    same(run.trained(), undisturbed.trained())


def row(*cells: object) -> None:
    """Print a row of the table."""
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def newest(run: RealRun) -> int:
    """The last attempt at Train, where it is not the first and its pods run; 0 otherwise."""
    attempts = run.attempts("train")
    return int(attempts[-1]["attempt"]) if len(attempts) > 1 and attempts[-1].get("startedAt") else 0


def last_step(run: RealRun, attempt: int) -> int:
    """The last step that rank 0 of an attempt has printed; 0: none, or its pods are gone."""
    try:
        lines = run.plugin("logs", "--stage", "train", "--attempt", str(attempt)) if attempt else ""
    except AssertionError:
        return 0
    return max((int(one) for one in re.findall(r"step (\d+)/", lines)), default=0)


def resumed(run: RealRun) -> int:
    """The step after which the last attempt went on."""
    last = run.attempts("train")[-1]["attempt"]
    found = re.search(
        r"goes on after step (\d+)", run.plugin("logs", "--stage", "train", "--attempt", str(last))
    )
    return int(found[1]) if found else 0
