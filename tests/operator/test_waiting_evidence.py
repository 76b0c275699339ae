"""What is asked of the API server to explain waits: how often, and with which rights."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from asrtune_api.policy import Backend
from asrtune_operator.kube.client import Client
from asrtune_operator.kube.credentials import credentials
from asrtune_operator.values.observed import ConditionView, PodView, Wait, WaitReason, WorkloadView
from asrtune_operator.waiting.evidence import EvidenceSource
from asrtune_operator.waiting.explainer import Explainer
from cluster.cluster import Cluster
from cluster.kwok import GPU
from cluster.operator import ROOT
from tools.gangs import gang_run

RUNS = 1000
SHORT = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."


def waiting(number: int, *, suspended: bool) -> tuple[WorkloadView, list[PodView]]:
    """An attempt at Train that has waited for a while: for GPUs, or suspended for a queue."""
    created = datetime.now(UTC) - timedelta(seconds=20)
    workload = WorkloadView(
        backend=Backend.JOB,
        name=f"run-{number}-train-1",
        uid=f"w{number}",
        stage="train",
        attempt=1,
        created=created,
        suspended=suspended,
    )
    said = {"PodScheduled": ConditionView("False", "Unschedulable", SHORT)}
    pod = PodView(
        name=f"run-{number}-0", uid=f"p{number}", stage="train", attempt=1, created=created, conditions=said
    )
    return workload, [] if suspended else [pod]


async def explain_all(
    kubeconfig: Path, namespaces: tuple[str, ...], requests: Counter[tuple[str, str]]
) -> list[Wait | None]:
    """A quarter of the runs wait for GPUs, a quarter have no pods, the rest are in a queue."""

    def count(verb: str, plural: str, code: str, seconds: float) -> None:
        requests[plural, code] += 1

    async with (
        credentials(kubeconfig, None) as configuration,
        Client(configuration, on_request=count) as client,
    ):
        explainer = Explainer(EvidenceSource(client, namespaces))
        runs = [
            gang_run(
                {"resources.nodes": 1, "resources.gpusPerNode": 9},
                namespace=namespaces[0] if namespaces else "default",
                queue=queue,
            )
            for queue in ("speech", None)
        ]
        tasks = []
        for number in range(RUNS):
            workload, pods = waiting(number, suspended=number % 2 == 0)
            told = explainer.explain(runs[number % 2], [workload], pods if number % 4 == 1 else [])
            tasks.append(told)
        return await asyncio.gather(*tasks)


def test_a_thousand_waits_cost_a_handful_of_requests(cluster: Cluster) -> None:
    requests: Counter[tuple[str, str]] = Counter()
    waits = asyncio.run(explain_all(cluster.kubeconfig, (), requests))
    said = Counter(wait.reason for wait in waits if wait)
    assert said == {
        WaitReason.GPUS_UNAVAILABLE: RUNS // 4,
        WaitReason.BACKEND_UNAVAILABLE: RUNS // 4 * 3,  # no Kueue here, or nobody who makes pods
    }
    assert waits[1] is not None
    assert waits[1].message.startswith(f"No node has 9 {GPU} at all, the largest, fake-")
    assert {plural for plural, _ in requests} == {"nodes", "pods", "events", "workloads"}
    assert sum(requests.values()) <= 5, requests


def test_with_the_rights_of_one_namespace(cluster: Cluster) -> None:
    """It sees no nodes, and translates what the scheduler says; it asks once, and not again."""
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "asr"}})
    cluster.api.apply(yaml.safe_load_all((ROOT / "operator/rbac/namespaced.yaml").read_text()))
    kubeconfig = cluster.plane.as_service_account("asr", "asrtune-operator")
    requests: Counter[tuple[str, str]] = Counter()
    waits = asyncio.run(explain_all(kubeconfig, ("asr",), requests))
    assert waits[1] is not None
    assert waits[1].reason is WaitReason.GPUS_UNAVAILABLE
    assert waits[1].message == f"Of 4 nodes none takes the pod: 4 have less than 9 free {GPU}."
    assert requests["nodes", "403"] == 1
    assert {plural for plural, code in requests if code == "403"} == {"nodes"}
    assert requests["events", "200"] == 1
