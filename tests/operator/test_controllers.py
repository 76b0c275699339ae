"""The real controllers run jobs of each kind on fake nodes, judge what they are given, and obey their own RBAC."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.client import ApiError, Client, Json
from cluster.cluster import Cluster
from cluster.controllers import CONTROLLERS, Controllers
from cluster.waiting import wait_for

GPU = {"nvidia.com/gpu": "4"}


def template(*, container: str = "c", run_for: str = "300ms") -> Json:
    resources = {"limits": GPU, "requests": GPU}
    return {
        "metadata": {"annotations": {"fake/run-for": run_for}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": container, "image": "none", "resources": resources}],
        },
    }


def job(*, gang: int = 2) -> Json:
    return {"parallelism": gang, "completions": gang, "template": template()}


def of(api_version: str, kind: str, spec: Json, **metadata: Any) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "run"} | metadata, "spec": spec}


def pytorchjob(*, workers: int = 2) -> Json:
    worker = {"replicas": workers, "restartPolicy": "Never", "template": template(container="pytorch")}
    return of("kubeflow.org/v1", "PyTorchJob", {"pytorchReplicaSpecs": {"Worker": worker}})


def jobset() -> Json:
    group = {"name": "trainer", "replicas": 1, "template": {"spec": job()}}
    return of("jobset.x-k8s.io/v1alpha2", "JobSet", {"replicatedJobs": [group]})


def trainjob() -> Json:
    trainer = {"numNodes": 2, "image": "none", "resourcesPerNode": {"limits": GPU, "requests": GPU}}
    patches = {
        "runtimeRef": {"name": "torch-distributed"},
        "trainer": trainer,
        "podTemplateOverrides": [
            {"targetJobs": [{"name": "node"}], "metadata": {"annotations": {"fake/run-for": "300ms"}}}
        ],
    }
    return of("trainer.kubeflow.org/v1alpha1", "TrainJob", patches)


@pytest.mark.parametrize(
    ("controller", "document", "condition"),
    [
        ("training-operator", pytorchjob(), "Succeeded"),
        ("jobset", jobset(), "Completed"),
        ("trainer", trainjob(), "Complete"),
    ],
)
def test_controller_runs_a_gang(
    cluster: Cluster,
    controllers: Controllers,
    namespace: str,
    controller: str,
    document: Json,
    condition: str,
) -> None:
    controllers.start(controller)
    cluster.api.create(document | {"metadata": {"name": "run", "namespace": namespace}})
    cluster.api.wait(
        document["kind"],
        "run",
        lambda one: cluster.api.condition(one, condition).get("status") == "True",
        namespace,
    )
    pods = cluster.api.list("pods", namespace)
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"] * 2


def test_kueue_lets_jobs_wait_for_quota(cluster: Cluster, controllers: Controllers, namespace: str) -> None:
    controllers.start("kueue")
    quota = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "resourceGroups": [
            {
                "coveredResources": list(GPU),
                "flavors": [{"name": "any", "resources": [{"name": "nvidia.com/gpu", "nominalQuota": 8}]}],
            }
        ],
    }
    api_version = "kueue.x-k8s.io/v1beta2"
    cluster.api.apply(
        [
            of(api_version, "ResourceFlavor", {}, name="any"),
            of(api_version, "ClusterQueue", quota, name=namespace),
            of(api_version, "LocalQueue", {"clusterQueue": namespace}, name="queue", namespace=namespace),
        ]
    )
    for name in ("first", "second"):
        labels = {"kueue.x-k8s.io/queue-name": "queue"}
        cluster.api.create(of("batch/v1", "Job", job(), name=name, namespace=namespace, labels=labels))
    seen: list[list[bool]] = []

    def finished() -> bool:
        jobs = cluster.api.list("jobs.batch", namespace)
        seen.append([one["spec"]["suspend"] for one in jobs])
        return all(cluster.api.condition(one, "Complete").get("status") == "True" for one in jobs)

    wait_for(finished, what="both jobs")
    assert [False, False] in seen
    assert [False, True] in seen or [True, False] in seen, "both ran at once on quota for one"


def test_webhook_refuses(cluster: Cluster, controllers: Controllers, namespace: str) -> None:
    controllers.start("jobset")
    wrong = jobset()
    wrong["metadata"]["namespace"] = namespace
    wrong["spec"]["successPolicy"] = {"operator": "All", "targetReplicatedJobs": ["nobody"]}
    with pytest.raises(ApiError, match="nobody") as caught:
        cluster.api.create(wrong)
    assert "admission webhook" in str(caught.value)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_controller_has_its_own_rights_alone(cluster: Cluster, controllers: Controllers, name: str) -> None:
    controllers.start(name)
    account = CONTROLLERS[name].account
    controller = Client(cluster.plane.service_account(*account.split(":")))
    with pytest.raises(ApiError, match=f"system:serviceaccount:{account}.* cannot create") as caught:
        controller.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "intruder"}})
    assert caught.value.status == 403


def test_controller_comes_back_after_a_kill(
    cluster: Cluster, controllers: Controllers, namespace: str
) -> None:
    controllers.start("jobset")
    before = cluster.processes["jobset"].pid
    assert controllers.restart("jobset").pid != before
    cluster.api.create(jobset() | {"metadata": {"name": "run", "namespace": namespace}})
    wait_for(lambda: len(cluster.api.list("pods", namespace)) == 2, what="two pods")
