"""Every backend under Kueue: it waits for quota, and runs when there is some."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from asrtune_api.policy import Backend
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.values.observed import Outcome
from cluster.cluster import Cluster
from tools.attempts import CONTROLLERS, Attempt, Attempts

GPUS = 4
"""Quota: one attempt of two nodes with two GPUs each."""


@pytest.fixture(scope="module")
def kueue(cluster: Cluster) -> Cluster:
    """Kueue, and a ClusterQueue for everybody."""
    cluster.controllers.start(*(one for needed in CONTROLLERS.values() for one in needed), "kueue")
    quotas = [("cpu", "100"), ("memory", "1Ti"), ("nvidia.com/gpu", str(GPUS))]
    covered = [{"name": name, "nominalQuota": quota} for name, quota in quotas]
    flavor = {"name": "default", "resources": covered}
    group = {"coveredResources": [name for name, _ in quotas], "flavors": [flavor]}
    cluster.api.apply(
        [
            {
                "apiVersion": "kueue.x-k8s.io/v1beta2",
                "kind": "ResourceFlavor",
                "metadata": {"name": "default"},
                "spec": {"nodeLabels": {"type": "kwok"}},
            },
            {
                "apiVersion": "kueue.x-k8s.io/v1beta2",
                "kind": "ClusterQueue",
                "metadata": {"name": "everybody"},
                "spec": {"namespaceSelector": {}, "resourceGroups": [group]},
            },
        ]
    )
    return cluster


@pytest.fixture
def attempts(kueue: Cluster) -> Iterator[Attempts]:
    made = Attempts(kueue)
    yield made
    made.close()


def queued(cluster: Cluster, attempt: Attempt) -> Attempt:
    cluster.api.apply(
        {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "kind": "LocalQueue",
            "metadata": {"name": "speech", "namespace": attempt.namespace},
            "spec": {"clusterQueue": "everybody"},
        }
    )
    attempt.apply()
    return attempt


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.value)
def test_waits_for_quota_and_runs(kueue: Cluster, attempts: Attempts, backend: Backend) -> None:
    quick = {"fake/run-for": "300ms"}
    first = queued(kueue, attempts(backend, queue="speech", annotations={"fake/manual": "true"}))
    there = first.wait_for_pods(lambda pods: len(pods) == 2 and all(pod.node for pod in pods))
    assert not first.view().suspended
    second = queued(kueue, attempts(backend, queue="speech", annotations=quick))
    time.sleep(2)
    assert second.view().suspended
    assert second.pods() == []
    raw = {pod["metadata"]["name"]: pod for pod in first.raw_pods()}
    assert {pod["spec"]["nodeSelector"]["type"] for pod in raw.values()} == {"kwok"}
    for pod in there:
        kueue.kubelet.end(kueue.kubelet.run(raw[pod.name]), 0)
    first.wait_for_view(lambda view: view.outcome is Outcome.SUCCEEDED)
    done = second.wait_for_view(lambda view: view.outcome is not None)
    assert (done.outcome, done.suspended) == (Outcome.SUCCEEDED, False)
    assert [(pod.rank, pod.stage, pod.attempt) for pod in second.pods()] == [(0, "train", 1), (1, "train", 1)]
