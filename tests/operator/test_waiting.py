"""Why does it wait: each cause is brought about for real, and told right in time, by the operator as it is shipped.

Scheduler, controllers and admission are the real ones. The nodes are kwok's, so what only a kubelet can say (an image,
a mount, a container) is played: status and events as a real kubelet wrote them (`recorded_waits.json`). Quota, Kueue
and what refuses pods: `test_waiting_admission.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.kwok import GPU
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools.waits import end_all, start, start_gang

MANUAL = {"annotations": {"fake/manual": "true"}}
QUICK = {"fake/prepare.run-for": "100ms"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Nodes fake-0 and fake-1 are free, 2 and 3 are partly taken, 4 beside them and 5 have taints, 6 is cordoned."""
    with run_cluster(tmp_path_factory.mktemp("waiting"), nodes=0) as cluster:
        taint = {"key": "dedicated", "value": "video", "effect": "NoSchedule"}
        cluster.kwok.start()
        cluster.kwok.add_nodes(2, labels={"pool": "free"})
        cluster.kwok.add_nodes(2, labels={"pool": "busy"})
        cluster.kwok.add_nodes(1, labels={"pool": "busy"}, taints=[taint])
        cluster.kwok.add_nodes(1, labels={"pool": "tainted"}, taints=[taint])
        cluster.kwok.add_nodes(1, labels={"pool": "cordoned"})
        cluster.api.patch("nodes", "fake-6", {"spec": {"unschedulable": True}})
        for number, (node, gpus) in enumerate((("fake-2", 5), ("fake-3", 3))):
            cluster.api.create(_filler(f"filler-{number}", node, gpus))
        Operator(cluster).start()
        yield cluster


@pytest.fixture(autouse=True)
def _tidy(cluster: Cluster) -> Iterator[None]:
    yield
    end_all(cluster)


def _filler(name: str, node: str, gpus: int) -> Json:
    """Somebody else's pod."""
    amounts = {GPU: str(gpus)}
    container = {"name": "main", "image": "other", "resources": {"limits": amounts, "requests": amounts}}
    spec = {"nodeName": node, "containers": [container], "tolerations": [{"operator": "Exists"}]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_gpus_are_short(cluster: Cluster) -> None:
    waiting = start(cluster, pool="busy", resources__gpusPerNode=8)
    assert waiting.told("GpusUnavailable") == (
        "No node has 8 free nvidia.com/gpu: fake-3 has the most, 5 of 8 free; 4 more nodes are excluded by the "
        "node selector pool=busy, 1 more node is excluded by taint dedicated=video:NoSchedule."
    )


def test_no_node_has_so_many_gpus(cluster: Cluster) -> None:
    waiting = start(cluster, resources__gpusPerNode=16)
    assert waiting.told("GpusUnavailable") == (
        "No node has 16 nvidia.com/gpu at all, the largest, fake-6, has 8: ask for less in "
        "spec.resources.gpusPerNode, or add such a node."
    )


def test_what_the_training_asks_for_is_compared_with_the_nodes_while_the_data_are_prepared(
    cluster: Cluster,
) -> None:
    long = {"annotations": {"fake/prepare.run-for": "1h"}}
    waiting = start(cluster, pod=long, resources__gpusPerNode=16, execution__pods="PerStage")
    told = wait_for(
        lambda: waiting.condition() if waiting.condition().get("status") == "True" else None,
        what="a Prepare that runs",
        state=waiting.condition,
    )
    assert told["message"].endswith(
        "As the cluster's nodes are now, train will find no place: No node has 16 nvidia.com/gpu at all, the largest, "
        "fake-6, has 8: ask for less in spec.resources.gpusPerNode, or add such a node."
    )


@pytest.mark.parametrize(
    ("field", "asked", "message"),
    [
        (
            "cpu",
            "200",
            "No node has 200 cpu at all, the largest, fake-6, has 96: ask for less in spec.resources.cpu",
        ),
        ("memory", "2Ti", "No node has 2Ti memory at all, the largest, fake-6, has 1Ti: ask for less in"),
    ],
)
def test_cpu_or_memory_is_short(cluster: Cluster, field: str, asked: str, message: str) -> None:
    waiting = start(cluster, **{f"resources__{field}": asked})
    assert waiting.told("ResourcesUnavailable").startswith(message)


def test_node_selector(cluster: Cluster) -> None:
    waiting = start(cluster, pool="h100", resources__gpusPerNode=1)
    assert waiting.told("NodeSelectorUnmatched") == (
        "Of the nodes with 1 nvidia.com/gpu none is open to the run: 7 are excluded by the node selector pool=h100. "
        "Correct pod.nodeSelector of the runtime, or label nodes."
    )


def test_taint(cluster: Cluster) -> None:
    waiting = start(cluster, pool="tainted", resources__gpusPerNode=8)
    assert waiting.told("TaintUntolerated") == (
        "Of the nodes with 8 nvidia.com/gpu none is open to the run: 1 is excluded by taint "
        "dedicated=video:NoSchedule. Tolerate the taint in pod.tolerations of the runtime."
    )


def test_cordoned(cluster: Cluster) -> None:
    waiting = start(cluster, pool="cordoned")
    assert waiting.told("ResourcesUnavailable") == (
        "Of the nodes that are large enough none is open to the run: 1 is cordoned."
    )


def test_claim_is_missing(cluster: Cluster) -> None:
    waiting = start(cluster, volumes=[{"name": "data", "claim": "speech-data", "mountPath": "/data"}])
    assert waiting.told("ClaimMissing") == (
        f"PersistentVolumeClaim speech-data does not exist in namespace {waiting.namespace}: create it, or correct the "
        "claim in spec.volumes (or the runtime's pod.volumes)."
    )


@pytest.mark.parametrize("mode", ["Immediate", "WaitForFirstConsumer"])
def test_claim_has_no_volume(cluster: Cluster, namespace: str, mode: str) -> None:
    name = f"nobody-{mode.lower()}"
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    cluster.api.create({**kind, "provisioner": "example.com/nobody", "volumeBindingMode": mode})
    cluster.api.create(_claim("speech-data", namespace, name))
    volume = {"name": "data", "claim": "speech-data", "mountPath": "/data"}
    waiting = start(cluster, namespace=namespace, volumes=[volume])
    assert waiting.told("ClaimUnbound") == (
        f"PersistentVolumeClaim speech-data is Pending: provisioner example.com/nobody of StorageClass {name} has made "
        "no volume yet."
    )


def test_claim_names_a_class_that_is_missing(cluster: Cluster, namespace: str) -> None:
    cluster.api.create(_claim("speech-data", namespace, "nosuch"))
    volume = {"name": "data", "claim": "speech-data", "mountPath": "/data"}
    waiting = start(cluster, namespace=namespace, volumes=[volume])
    assert waiting.told("ClaimUnbound") == (
        'PersistentVolumeClaim speech-data is Pending: storageclass.storage.k8s.io "nosuch" not found.'
    )


def _claim(name: str, namespace: str, storage_class: str) -> Json:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    spec |= {"resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


KUBELET = {
    "secret-volume": (
        "SecretMissing",
        "Secret demo-s3 does not exist in namespace {namespace}: create it, or correct spec.storage.secretRef.",
    ),
    "image-404": (
        "ImageUnavailable",
        "Image localhost:5000/asrtune/trainer:1 cannot be pulled: its registry has no such image: ",
    ),
    "image-unreachable": (
        "ImageUnavailable",
        "Image 10.250.0.1:5999/asrtune/trainer:1 cannot be pulled: its registry cannot be reached from node {node}: ",
    ),
    "nonroot": ("ContainerFailed", "Image asrtune-trainer:0"),
    "runtimeclass": (
        "ContainerFailed",
        'Node {node} cannot set up the pod: no runtime for "nvidia" is configured: ',
    ),
    "nfs": ("VolumeUnmounted", "Volume v cannot be mounted on node {node}: unknown filesystem type 'nfs'."),
}


@pytest.mark.parametrize("case", KUBELET)
def test_kubelet(cluster: Cluster, case: str) -> None:
    waiting = start(cluster, pod=MANUAL, storage__secretRef={"name": "demo-s3"})
    waiting.play(case)
    (pod,) = waiting.pods()
    reason, message = KUBELET[case]
    told = waiting.told(reason)
    assert told.startswith(message.format(namespace=waiting.namespace, node=pod["spec"]["nodeName"]))


def test_scheduling_gate(cluster: Cluster, namespace: str) -> None:
    """Put there by a policy of the platform, as queueing systems do."""
    _gate_pods_of(cluster, namespace)
    waiting = start(cluster, namespace=namespace)
    assert waiting.told("SchedulingGated").endswith(
        "is held back by scheduling gate example.com/hold: whoever set it has to remove it."
    )


def _gate_pods_of(cluster: Cluster, namespace: str) -> None:
    """Returns when it is in force."""
    group = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    gate = 'Object.spec.schedulingGates{name: "example.com/hold"}'
    expression = {"expression": f"Object{{spec: Object.spec{{schedulingGates: [{gate}]}}}}"}
    change = {"patchType": "ApplyConfiguration", "applyConfiguration": expression}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "reinvocationPolicy": "Never",
        "mutations": [change],
    }
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": "hold", "matchResources": where}
    for kind, own in (("MutatingAdmissionPolicy", spec), ("MutatingAdmissionPolicyBinding", binding)):
        cluster.api.create({"apiVersion": group, "kind": kind, "metadata": {"name": "hold"}, "spec": own})
    wait_for(lambda: _dry_pod(cluster, namespace)["spec"].get("schedulingGates"), what="the policy")


def _dry_pod(cluster: Cluster, namespace: str) -> Json:
    pod = _filler("dry", "", 1) | {"metadata": {"name": "dry", "namespace": namespace}}
    del pod["spec"]["nodeName"]
    return cluster.api.create(pod, dry_run=True)


def test_gang_lacks_a_node(cluster: Cluster) -> None:
    waiting = start_gang(cluster, 3, resources__gpusPerNode=8)
    waiting.told("GpusUnavailable", "2 of 3 pods run and wait for pod demo-train-1-")
    # The nodes may have been listed before the gang's own pods came: then the scheduler's count is told first.
    cluster.api.wait(
        "asrfinetunes",
        "demo",
        lambda run: "No node has 8 free nvidia.com/gpu: fake-0 has the most, 0 of 8 free;" in str(run),
        waiting.namespace,
        timeout=15,
    )


def test_gang_whose_last_pod_starts(cluster: Cluster) -> None:
    """The test is the kubelet of a gang of two: one runs, the other's image is being pulled."""
    waiting = start_gang(cluster, 2, pod={"annotations": {"fake/train.start-after": "600s"} | QUICK})
    first, second = waiting.pods(2)
    cluster.kubelet.run(first)
    cluster.kubelet.waiting(second, "ContainerCreating")
    name = second["metadata"]["name"]
    assert waiting.told("GangIncomplete").startswith(f"1 of 2 pods runs and waits for pod {name}: Node fake-")


def test_hosts_apart(cluster: Cluster) -> None:
    waiting = start_gang(cluster, 3, execution__topology={"spreadOverHosts": True}, resources__gpusPerNode=1)
    message = waiting.told("TopologyUnsatisfied", "2 of 3 pods run and wait for pod demo-train-1-")
    assert "2 have already a pod that this one must be apart from" in message


def test_runtime_is_missing(cluster: Cluster) -> None:
    waiting = start(cluster, runtimeRef={"name": "absent", "kind": "ASRRuntime"})
    assert waiting.told("RuntimeNotFound") == (
        f"there is no ASRRuntime absent in namespace {waiting.namespace}; it goes on as soon as there is. "
        "The ASRRuntimes are own."
    )


def test_backend_is_not_installed(cluster: Cluster) -> None:
    waiting = start(cluster, resources__nodes=2, execution__pods="PerStage", execution__backend="PyTorchJob")
    assert waiting.told("BackendUnavailable").startswith(
        "The cluster does not know PyTorchJob (kubeflow.org/v1)"
    )


def test_nobody_makes_pods(cluster: Cluster) -> None:
    """The controllers hang. They are given five seconds before that is said."""
    manager = cluster.processes["controller-manager"]
    namespace = cluster.new_namespace()
    manager.freeze()
    try:
        waiting = start(cluster, namespace=namespace)
        assert waiting.told("BackendUnavailable") == (
            "kube-controller-manager has made no pods for Job demo-prepare-1 yet: see whether it runs, or lags "
            "behind."
        )
    finally:
        manager.thaw()


def test_somebody_suspends_it(cluster: Cluster) -> None:
    waiting = start(cluster, pod=MANUAL)
    waiting.pods()
    cluster.api.patch("jobs", "demo-prepare-1", {"spec": {"suspend": True}}, waiting.namespace)
    waiting.since = time.monotonic()
    assert waiting.told("ExternallySuspended") == (
        "Somebody has suspended Job demo-prepare-1: whoever did has to resume it, or suspend and resume the run."
    )
