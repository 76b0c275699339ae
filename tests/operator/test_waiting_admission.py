"""Why does it wait: pods that may not be made, and queues that let no run in. Quota, admission and Kueue are real."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.kwok import GPU
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools.waits import Waiting, end_all, start

KUEUE = "kueue.x-k8s.io/v1beta2"
ADMISSION = "admissionregistration.k8s.io/v1"
ON_PODS = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("admission"), nodes=0) as cluster:
        cluster.kwok.start()
        cluster.kwok.add_nodes(2, labels={"pool": "free"})
        Operator(cluster).start()
        yield cluster


@pytest.fixture(autouse=True)
def _tidy(cluster: Cluster) -> Iterator[None]:
    yield
    end_all(cluster)


def create(
    cluster: Cluster, api: str, kind: str, name: str, namespace: str | None = None, **fields: object
) -> None:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    cluster.api.create({"apiVersion": api, "kind": kind, "metadata": metadata, **fields})


def refuses(cluster: Cluster, namespace: str) -> None:
    """Returns when the namespace refuses pods: what does it comes into force a moment after it is created."""
    amounts = {GPU: "8", "cpu": "4"}
    container = {"name": "main", "image": "other", "resources": {"limits": amounts, "requests": amounts}}
    metadata = {"generateName": "probe-", "namespace": namespace}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    wait_for(lambda: cluster.api.request("POST", path, body)[0] >= 400, what="the refusal")


def test_resource_quota(cluster: Cluster, namespace: str) -> None:
    create(cluster, "v1", "ResourceQuota", "small", namespace, spec={"hard": {f"requests.{GPU}": "4"}})
    refuses(cluster, namespace)
    waiting = start(cluster, namespace=namespace, resources__gpusPerNode=8)
    assert waiting.told("ResourceQuotaExceeded") == (
        f"ResourceQuota small of namespace {namespace} refuses the pods: asked for requests.nvidia.com/gpu=8, used "
        "requests.nvidia.com/gpu=0, allowed requests.nvidia.com/gpu=4."
    )


def test_limit_range(cluster: Cluster, namespace: str) -> None:
    create(
        cluster,
        "v1",
        "LimitRange",
        "max",
        namespace,
        spec={"limits": [{"type": "Container", "max": {"memory": "2Gi"}}]},
    )
    waiting = start(cluster, namespace=namespace, resources__memory="8Gi")
    assert waiting.told("ResourceQuotaExceeded") == (
        f"A LimitRange of namespace {namespace} refuses the pods: maximum memory usage per Container is 2Gi, but "
        "limit is 8Gi: change spec.resources."
    )


def test_webhook_does_not_answer(cluster: Cluster, namespace: str) -> None:
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    hook = {"name": "down.example.com", "clientConfig": {"url": "https://127.0.0.1:1/x"}, "rules": ON_PODS}
    hook |= {"namespaceSelector": where, "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    create(cluster, ADMISSION, "ValidatingWebhookConfiguration", "down", webhooks=[hook])
    refuses(cluster, namespace)
    waiting = start(cluster, namespace=namespace)
    assert waiting.told("AdmissionRefused") == (
        "Webhook down.example.com, which has to be asked about every pod, cannot be: connection refused."
    )


def test_policy_refuses(cluster: Cluster, namespace: str) -> None:
    rule = {
        "expression": "object.metadata.name.startsWith('corp-')",
        "message": "names must begin with corp-",
    }
    spec = {"matchConstraints": {"resourceRules": ON_PODS}, "validations": [rule]}
    create(cluster, ADMISSION, "ValidatingAdmissionPolicy", "names", spec=spec)
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": "names", "validationActions": ["Deny"], "matchResources": where}
    create(cluster, ADMISSION, "ValidatingAdmissionPolicyBinding", "names", spec=binding)
    refuses(cluster, namespace)
    waiting = start(cluster, namespace=namespace)
    assert waiting.told("AdmissionRefused") == (
        "ValidatingAdmissionPolicy names refuses the pods: names must begin with corp-."
    )


def test_priority_class_is_missing(cluster: Cluster) -> None:
    waiting = start(cluster, pod={"priorityClassName": "absent"})
    assert waiting.told("PriorityClassMissing") == (
        "PriorityClass absent does not exist: create it, or correct pod.priorityClassName of the runtime."
    )


def test_no_kueue(cluster: Cluster) -> None:
    waiting = start(cluster, queueName="speech")
    assert waiting.told("BackendUnavailable") == (
        "The cluster has no Kueue, so nobody admits Job demo-prepare-1 to queue speech: install it, or unset queueName."
    )


@pytest.fixture(scope="module")
def queues(cluster: Cluster) -> Cluster:
    """ClusterQueues team-a (16 GPUs) and held; the first works."""
    cluster.controllers.start("kueue")
    create(cluster, KUEUE, "ResourceFlavor", "default")
    for name, more in (("team-a", {}), ("held", {"stopPolicy": "Hold"})):
        quotas = [{"name": GPU, "nominalQuota": 16}, {"name": "cpu", "nominalQuota": 99}]
        quotas.append({"name": "memory", "nominalQuota": "1Ti"})
        group = {
            "coveredResources": [one["name"] for one in quotas],
            "flavors": [{"name": "default", "resources": quotas}],
        }
        spec: Json = {"namespaceSelector": {}, "resourceGroups": [group], **more}
        create(cluster, KUEUE, "ClusterQueue", name, spec=spec)
    cluster.api.wait(
        "clusterqueues", "team-a", lambda one: cluster.api.condition(one, "Active").get("status") == "True"
    )
    return cluster


def queued(cluster: Cluster, namespace: str, cluster_queue: str, **changes: object) -> Waiting:
    """A finetune in queue `speech`, which leads there."""
    create(cluster, KUEUE, "LocalQueue", "speech", namespace, spec={"clusterQueue": cluster_queue})
    cluster.api.wait("localqueues", "speech", lambda one: one.get("status"), namespace)
    return start(cluster, namespace=namespace, queueName="speech", **changes)


def test_quota_of_the_queue(queues: Cluster, namespace: str) -> None:
    create(queues, KUEUE, "LocalQueue", "speech", namespace, spec={"clusterQueue": "team-a"})
    for number, pods in enumerate((2, 2)):  # the first holds all 16 GPUs, the second waits before us
        job = _job(f"other-{number}", namespace, pods)
        queues.api.create(job)
        time.sleep(1.1)  # Kueue orders by creation, in seconds
    waiting = start(queues, namespace=namespace, queueName="speech", resources__gpusPerNode=8)
    assert waiting.told("QuotaExhausted", "Queue speech: quota") == (
        "Queue speech: quota of ClusterQueue team-a is used up: 16 of 16 nvidia.com/gpu, 8 more needed "
        "(flavor default); 1 workload is ahead."
    )
    reserved = queues.api.get("asrfinetunes", "demo", namespace)["status"]["conditions"]
    (quota,) = [one for one in reserved if one["type"] == "QuotaReserved"]
    assert (quota["status"], quota["reason"]) == ("False", "Pending")
    assert "insufficient unused quota" in quota["message"]


def test_more_than_the_queue_ever_has(queues: Cluster, namespace: str) -> None:
    waiting = queued(queues, namespace, "team-a", resources__gpusPerNode=32)
    assert waiting.told("QuotaExhausted", "Queue speech: the run") == (
        "Queue speech: the run asks for 32 nvidia.com/gpu, and ClusterQueue team-a has 16 at most (flavor default): "
        "ask for less, or raise its quota."
    )


def test_local_queue_is_missing(queues: Cluster, namespace: str) -> None:
    waiting = start(queues, namespace=namespace, queueName="absent")
    assert waiting.told("QueueNotFound") == (
        f"LocalQueue absent does not exist in namespace {namespace}: create it, or correct queueName."
    )


def test_cluster_queue_is_missing(queues: Cluster, namespace: str) -> None:
    waiting = queued(queues, namespace, "absent")
    assert waiting.told("QueueNotFound") == (
        "LocalQueue speech leads to ClusterQueue absent, which does not exist: create it, or correct the LocalQueue."
    )


def test_cluster_queue_is_stopped(queues: Cluster, namespace: str) -> None:
    waiting = queued(queues, namespace, "held")
    assert waiting.told("QueueInactive") == (
        "Queue speech: ClusterQueue held takes no workloads: is stopped."
    )


def _job(name: str, namespace: str, pods: int) -> Json:
    """Somebody else's, with 8 GPUs a pod."""
    resources = {"limits": {GPU: "8"}, "requests": {GPU: "8", "cpu": "1"}}
    container = {"name": "main", "image": "other", "resources": resources}
    pod = {"restartPolicy": "Never", "nodeSelector": {"pool": "free"}, "containers": [container]}
    template = {"metadata": {"annotations": {"fake/run-for": "900s"}}, "spec": pod}
    spec = {"suspend": True, "parallelism": pods, "completions": pods, "template": template}
    metadata = {"name": name, "namespace": namespace, "labels": {"kueue.x-k8s.io/queue-name": "speech"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
