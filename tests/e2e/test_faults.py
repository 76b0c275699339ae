"""The fault matrix: what happens to a gang that trains when something fails, produced for real on real nodes.

For each fault the verdict, the time until it trains again, the steps that had to be done again, and whether all losses
and the weights are those of the undisturbed run, bit by bit. `-s` prints the table's rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.nodes import Nodes
from cluster.operator import Operator
from tools import faults
from tools.matrix import Fault, Site, befall, fault, row
from tools.on_nodes import SLOW, RealRun, Workplace, same, training_alone
from tools.project import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
GONE = "NodeLost|Interrupted|InternalError"
FAULTS = [
    fault("a training process is killed", faults.kill_worker, "InternalError", "Succeeded"),
    fault("the first process of a pod is killed", faults.kill_first_process, "InternalError", "Succeeded"),
    fault(
        "a training process hangs",
        faults.hang_worker,
        *("Stalled", "Succeeded"),
        runPolicy={"gracePeriodSeconds": 15, "backoffSeconds": 1, "stallTimeoutSeconds": 40},
    ),
    fault("a node is drained", faults.drain, "Evicted", "Succeeded", most_lost=1),
    fault("somebody deletes a pod", faults.delete_pod, "Interrupted|Deleted", "Succeeded", most_lost=1),
    fault("somebody deletes the Job", faults.delete_job, "Interrupted|Deleted", "Succeeded", most_lost=1),
    fault("a kubelet is killed and comes back", faults.kill_kubelet, "NodeLost|-", "Succeeded"),
    fault("a node's network is cut for 20 s", faults.cut_network, GONE, "Succeeded"),
    fault("a node goes and comes back", faults.lose_node, GONE, "Succeeded"),
    fault("the operator is killed and replaced", faults.replace_operator, "Succeeded"),
    fault("the API server is killed and restarts", faults.restart_api_server, "Succeeded"),
    fault("etcd does not answer for 8 s", faults.slow_etcd, "Succeeded"),
    fault("the newest checkpoint is cut short", faults.spoil_checkpoint, "InternalError", "Succeeded"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
def test_it_trains_again_and_ends_the_same(
    fault: Fault,
    nodes: tuple[Cluster, Nodes],
    operator: Operator,
    workplace: Workplace,
    undisturbed: RealRun,
) -> None:
    run = workplace.run(fault.run_name, training_alone, **fault.spec)
    befall(fault, Site(nodes[0], nodes[1], operator, run), undisturbed)


def exploding(project: Project) -> None:
    training_alone(project)
    project.stage("train").update(learningRate="1000000")


@pytest.mark.parametrize(
    ("name", "change", "spec", "verdict"),
    [
        ("diverges", exploding, {}, "Diverged"),
        (
            "out-of-memory",
            training_alone,
            {"resources": {"nodes": 2, "cpu": "500m", "memory": "300Mi"}},
            "OutOfMemory",
        ),
    ],
)
def test_what_no_retry_mends_costs_none(
    workplace: Workplace, name: str, change: Callable[[Project], None], spec: dict[str, Any], verdict: str
) -> None:
    run = workplace.run(name, change, **spec)
    run.apply()
    run.wait_phase("Failed", SLOW)
    failed = run.condition("Failed")
    attempts = run.status()["attempts"]
    row(name, failed["reason"], failed["message"])
    assert failed["reason"] == verdict
    assert [one["verdict"] for one in attempts if one["verdict"] != "Succeeded"] == [verdict]


def test_a_second_run_with_the_same_output_is_refused_and_hurts_nobody(
    workplace: Workplace, undisturbed: RealRun
) -> None:
    first = workplace.run("first", training_alone)
    first.apply()
    first.wait_for_step(3)
    second = workplace.run("second", training_alone, output=first.manifest["spec"]["output"])
    second.apply()
    second.wait_phase("Failed", SLOW)
    failed = second.condition("Failed")
    assert failed["reason"] == "SpecInvalid"
    assert "first" in failed["message"]
    assert "writes to this output" in failed["message"]
    first.wait_phase("Succeeded", SLOW)
    assert [one["verdict"] for one in first.attempts("train")] == ["Succeeded"]
    same(first.trained(), undisturbed.trained())
