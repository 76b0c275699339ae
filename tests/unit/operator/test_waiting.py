"""Why something waits, from what a real kubelet, scheduler and admission said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from syrupy.assertion import SnapshotAssertion

from asrtune_api.policy import Backend
from asrtune_operator.follow.observe import pod_view
from asrtune_operator.values.observed import (
    ConditionView,
    ContainerView,
    PodView,
    QueueView,
    Wait,
    WaitReason,
    WorkloadView,
)
from asrtune_operator.waiting.cluster import event_view, requests_of
from asrtune_operator.waiting.creation import refused
from asrtune_operator.waiting.explain import explain
from asrtune_operator.waiting.facts import Evidence, NodeView, QueueFacts, Taint, Wanted
from asrtune_operator.waiting.queue import queue_view, queue_wait
from asrtune_operator.waiting.room import for_ever
from asrtune_operator.waiting.scheduler import parse
from asrtune_operator.waiting.wording import FREE_CHANGES, Wording
from unit.operator.runs import START, later

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("recorded_waits.json").read_text())
"""Of a kubelet 1.36.3 with containerd 2.2.0."""
IMAGE = "localhost/pause:1"


def wanted(**fields: Any) -> Wanted:
    known: dict[str, Any] = {
        "namespace": "default",
        "nodes": 1,
        "image": IMAGE,
        "gpu_resource": "nvidia.com/gpu",
        "requests": {"nvidia.com/gpu": Decimal(8)},
        "secret": "demo-s3",
        "claims": {"v": "corpus"},
    }
    return Wanted(**(known | fields))


def workload(**fields: Any) -> WorkloadView:
    known: dict[str, Any] = {
        "backend": Backend.JOB,
        "name": "demo-train-1",
        "uid": "w",
        "stage": "train",
        "attempt": 1,
    }
    return WorkloadView(**(known | {"created": START} | fields))


def pod(rank: int = 0, **fields: Any) -> PodView:
    known = {"name": f"demo-train-1-{rank}", "uid": f"p{rank}", "stage": "train", "attempt": 1, "rank": rank}
    return PodView(**(known | {"created": START} | fields))


def told(wants: Wanted, pods: Sequence[PodView], seconds: float = 30, **evidence: Any) -> tuple[str, str]:
    wait = explain(wants, workload(), pods, Evidence(**evidence), later(seconds))
    assert wait is not None
    return wait.reason.value, wait.message


def test_what_a_kubelet_says(snapshot: SnapshotAssertion) -> None:
    assert {case: _played(found) for case, found in RECORDED.items()} == snapshot


def _played(found: Mapping[str, Any]) -> tuple[str, str]:
    about = {"kind": "Pod", "name": found["pod"]["metadata"]["name"]}
    events = [event_view({**event, "involvedObject": about}) for event in found["events"]]
    return told(wanted(), [pod_view(found["pod"])], events=events)


def said(message: str) -> PodView:
    return pod(conditions={"PodScheduled": ConditionView("False", "Unschedulable", message)})


SCHEDULER = (
    "1 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity/selector",
    "3 Insufficient cpu, 1 Too many pods",
    "1 node(s) had untolerated taint {dedicated: speech}, 3 node(s) were unschedulable",
    "4 node(s) had untolerated taint(s)",
    "4 node(s) didn't match pod topology spread constraints (missing required label)",
    "2 node(s) didn't match pod anti-affinity rules, 2 node(s) had untolerated taint(s)",
    "2 node(s) had volume node affinity conflict, 2 node(s) didn't match Pod's node affinity/selector",
    "4 something that nobody has heard of",
    "pod has unbound immediate PersistentVolumeClaims. not found",
    'persistentvolumeclaim "absent" not found. not found',
)


def test_what_the_scheduler_says(snapshot: SnapshotAssertion) -> None:
    """Without a right to see nodes, as a namespaced operator, there is nothing but its words."""
    after = " no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful."
    messages = {text: f"0/4 nodes are available: {text}.{after}" for text in SCHEDULER}
    messages[""] = "no nodes available to schedule pods"
    assert {text: told(wanted(), [said(message)]) for text, message in messages.items()} == snapshot


def test_the_schedulers_histogram_is_read_whatever_follows() -> None:
    text = "0/9 nodes are available: 2 Insufficient cpu, 3 Too many pods, 4 node(s) had untolerated taint {a.b/c: d}. "
    expected = (9, {"Insufficient cpu": 2, "Too many pods": 3, "node(s) had untolerated taint {a.b/c: d}": 4})
    assert parse(text + "preemption: 0/9 nodes are available: 9 No preemption victims found.") == expected
    assert parse(text.strip()) == expected


def test_what_somebody_has_to_mend_is_told_before_what_passes() -> None:
    short = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."
    no_secret = ContainerView(
        waiting_reason="CreateContainerConfigError", waiting_message='secret "demo-s3" not found'
    )
    pods = [
        pod(0, node="node1"),
        pod(1, conditions={"PodScheduled": ConditionView("False", "Unschedulable", short)}),
        pod(2, node="node1", container=no_secret),
        pod(3, node="node1", phase="Running", container=ContainerView(started=START)),
    ]
    reason, message = told(wanted(nodes=4), pods)
    assert (reason, message[:62]) == (
        "SecretMissing",
        "1 of 4 pods runs and waits for pod demo-train-1-2: Secret demo",
    )


def test_all_run() -> None:
    pods = [pod(phase="Running", node="node1", container=ContainerView(started=START))]
    assert explain(wanted(), workload(), pods, Evidence(), later(1)) is None


ADMISSION = (
    'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "pytorch" must set it to true)',
    (
        "exceeded quota: small, requested: requests.nvidia.com/gpu=5, used: requests.nvidia.com/gpu=0, limited: "
        "requests.nvidia.com/gpu=4"
    ),
    "failed quota: cpu: must specify requests.cpu for: pytorch",
    "maximum cpu usage per Container is 2, but limit is 3",
    "no PriorityClass with name absent was found",
    'pod rejected: RuntimeClass "nvidia" not found',
    'error looking up service account speech/absent: serviceaccount "absent" not found',
    "ValidatingAdmissionPolicy 'images' with binding 'images' denied request: images must come from corp/",
    "something new",
)
WEBHOOKS = (
    'admission webhook "images.example.com" denied the request: unsigned image',
    (
        'Internal error occurred: failed calling webhook "down.example.com": failed to call webhook: Post '
        '"https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    ),
)


def test_pods_that_may_not_be_made(snapshot: SnapshotAssertion) -> None:
    messages = [f'pods "demo-0-" is forbidden: {text}' for text in ADMISSION] + [*WEBHOOKS]
    waits = [refused(f"Error creating: {message}", "speech") for message in messages]
    assert [(wait.reason.value, wait.message) for wait in waits] == snapshot


def kueue_workload(conditions: Mapping[str, tuple[str, str, str]], **spec: Any) -> dict[str, Any]:
    listed = [
        {"type": kind, "status": status, "reason": reason, "message": message}
        for kind, (status, reason, message) in conditions.items()
    ]
    return {"spec": {"queueName": "speech", **spec}, "status": {"conditions": listed}}


def test_what_kueue_says() -> None:
    evicted = ("True", "Preempted", "Preempted to accommodate a workload of higher priority")
    view = queue_view(kueue_workload({"Evicted": evicted, "QuotaReserved": ("False", "Preempted", "...")}))
    assert view == QueueView("speech", reason=evicted[1], message=evicted[2])
    view = queue_view(
        kueue_workload(
            {"QuotaReserved": ("True", "QuotaReserved", "..."), "Admitted": ("True", "Admitted", "in")}
        )
    )
    assert (view.reserved, view.admitted, view.reason) == (True, True, "Admitted")
    waiting = kueue_workload({"QuotaReserved": ("True", "QuotaReserved", "...")})
    waiting["status"]["admissionChecks"] = [
        {"name": "provision", "state": "Pending", "message": "3 nodes are being made."}
    ]
    facts = QueueFacts(view=queue_view(waiting))
    wait = queue_wait(facts, wanted(queue="speech"), "Job demo-train-1", silent=True)
    assert wait.message == (
        "Queue speech has reserved quota, and waits for its admission checks: provision: 3 nodes are being made."
    )
    assert (
        queue_wait(None, wanted(queue="speech"), "Job demo-train-1", silent=True).reason
        is WaitReason.QUOTA_EXHAUSTED
    )
    inactive = QueueFacts(view=queue_view(kueue_workload({}, active=False)))
    assert (
        queue_wait(inactive, wanted(queue="speech"), "Job x", silent=True).reason is WaitReason.QUEUE_INACTIVE
    )


def test_requests_are_counted_as_the_scheduler_does() -> None:
    def container(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "nodeName": "node1",
        "containers": [container("500m"), container("1")],
        "initContainers": [container("2"), container("250m", restartPolicy="Always"), container("1800m")],
        "overhead": {"cpu": "100m"},
    }
    assert requests_of({"spec": spec}) == ("node1", {"cpu": Decimal("2.15")})


def test_only_what_does_not_pass_by_itself_is_foreseen() -> None:
    wants = wanted(node_selector={"pool": "a"})
    eight = {"nvidia.com/gpu": Decimal(8)}
    taint = Taint("dedicated", "video", "NoSchedule")
    unready = Taint("node.kubernetes.io/not-ready", "", "NoExecute")
    labels = {"pool": "a"}
    assert foreseen(wants, NodeView(name="free", labels=labels, total=eight)) is None
    assert foreseen(wants, NodeView(name="busy", labels=labels, total=eight, used=eight)) is None
    assert foreseen(wants, NodeView(name="cordoned", labels=labels, total=eight, cordoned=True)) is None
    assert foreseen(wants, NodeView(name="ill", labels=labels, total=eight, taints=[unready])) is None
    small = NodeView(name="small", labels=labels, total={"nvidia.com/gpu": Decimal(4)})
    other = NodeView(name="other", labels={"pool": "b"}, total=eight)
    tainted = NodeView(name="tainted", labels=labels, total=eight, taints=[taint])
    assert foreseen(wants, small) is WaitReason.GPUS_UNAVAILABLE
    assert foreseen(wants, small, other) is WaitReason.NODE_SELECTOR_UNMATCHED
    assert foreseen(wants, small, other, tainted) is WaitReason.TAINT_UNTOLERATED
    cordoned = NodeView(name="cordoned", labels=labels, total=eight, cordoned=True)
    assert foreseen(wants, small, other, tainted, cordoned) is None


def foreseen(wants: Wanted, *nodes: NodeView) -> WaitReason | None:
    wait = for_ever(wants, nodes)
    return wait.reason if wait is not None else None


def test_words_do_not_flutter() -> None:
    wording = Wording()

    def say(number: int, seconds: float) -> str:
        wait = wording.steady("w", Wait(WaitReason.GPUS_UNAVAILABLE, f"{number} free"), later(seconds))
        assert wait is not None
        return wait.message

    for number in range(FREE_CHANGES + 1):
        assert say(number, number) == f"{number} free"
    assert say(7, 5) == f"{FREE_CHANGES} free"
    assert say(8, 40) == "8 free"
    other = Wait(WaitReason.IMAGE_UNAVAILABLE, "no image")
    assert wording.steady("w", other, later(41)) == other
    assert wording.steady("w", None, later(41) + timedelta(seconds=1)) is None
