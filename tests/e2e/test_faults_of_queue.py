"""The fault matrix: in Kueue's queue, a run of higher priority takes the quota of one that trains."""

from __future__ import annotations

import pytest

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.nodes import Nodes
from cluster.operator import Operator
from tools.matrix import Site, befall, fault
from tools.on_nodes import SLOW, RealRun, Workplace, training_alone
from tools.project import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
KUEUE = "kueue.x-k8s.io/v1beta2"
QUEUE = "gpus"


@pytest.fixture(scope="module")
def queue(nodes: tuple[Cluster, Nodes], workplace: Workplace) -> str:
    """A queue with room for one gang of two pods, and a priority for what is urgent."""
    cluster = nodes[0]
    cluster.controllers.start("kueue")
    amounts = {"pods": "2", "cpu": "100", "memory": "1Ti", "ephemeral-storage": "10Ti"}
    quotas = [{"name": name, "nominalQuota": most} for name, most in amounts.items()]
    flavors = [{"name": QUEUE, "resources": quotas}]
    spec: Json = {
        "namespaceSelector": {},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [{"coveredResources": list(amounts), "flavors": flavors}],
    }
    local = {"name": QUEUE, "namespace": workplace.namespace}
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    cluster.api.apply(
        [
            {"apiVersion": KUEUE, "kind": "ResourceFlavor", "metadata": {"name": QUEUE}},
            {"apiVersion": KUEUE, "kind": "ClusterQueue", "metadata": {"name": QUEUE}, "spec": spec},
            {"apiVersion": KUEUE, "kind": "LocalQueue", "metadata": local, "spec": {"clusterQueue": QUEUE}},
            {**priority, "metadata": {"name": "urgent"}, "value": 1000},
        ]
    )
    return QUEUE


def test_preempted_by_a_run_of_higher_priority(
    nodes: tuple[Cluster, Nodes],
    operator: Operator,
    workplace: Workplace,
    queue: str,
    undisturbed: RealRun,
) -> None:
    reference = workplace.runtime("urgent", pod={"priorityClassName": "urgent"})

    def brief(project: Project) -> None:
        del project.spec["stages"][2:]
        project.stage("train").update(epochs=1)

    urgent = workplace.run("urgent", brief, queueName=queue, runtimeRef=reference)

    def preempt(_: Site) -> None:
        urgent.apply()
        urgent.wait_phase("Succeeded", SLOW)

    taken = fault("preempted through Kueue", preempt, "Preempted", "Succeeded", most_lost=1, queueName=queue)
    run = workplace.run(taken.run_name, training_alone, **taken.spec)
    befall(taken, Site(*nodes, operator, run), undisturbed)
    assert [one["verdict"] for one in urgent.attempts("train")] == ["Succeeded"]
