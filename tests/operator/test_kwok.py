"""The fake nodes do what kwok.yaml says: the operator's tests stand on it."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster.cluster import Cluster


def pod(
    name: str, namespace: str, annotations: dict[str, str], labels: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": annotations,
            "labels": labels or {},
        },
        "spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "none"}]},
    }


def terminated(document: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = document["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


def ended(document: dict[str, Any]) -> bool:
    return document["status"]["phase"] in {"Succeeded", "Failed"}


def running(document: dict[str, Any]) -> bool:
    return bool(document["status"]["phase"] == "Running")


def test_pod_ends_as_its_stage_and_attempt_say(cluster: Cluster, namespace: str) -> None:
    message = json.dumps({"class": "data", "reason": '坏 <行> & "quotes"', "step": 3}, ensure_ascii=False)
    annotations = {
        "fake/run-for": "10ms",
        "fake/message": "general",
        "fake/train.exit-code": "65",
        "fake/train.message": message,
        "fake/train-2.exit-code": "137",
        "fake/train-2.reason": "OOMKilled",
        "fake/score.run-for": "1h",
    }
    for stage, attempt in [("prepare", "1"), ("train", "1"), ("train", "2"), ("score", "1")]:
        labels = {"asrtune.dev/stage": stage, "asrtune.dev/attempt": attempt}
        cluster.api.create(pod(f"{stage}-{attempt}", namespace, annotations, labels))
    seen = {
        name: cluster.api.wait("pods", name, ended, namespace) for name in ("prepare-1", "train-1", "train-2")
    }
    assert {name: document["status"]["phase"] for name, document in seen.items()} == {
        "prepare-1": "Succeeded",
        "train-1": "Failed",
        "train-2": "Failed",
    }
    states = {name: terminated(document) for name, document in seen.items()}
    assert {name: (one["exitCode"], one["reason"], one["message"]) for name, one in states.items()} == {
        "prepare-1": (0, "Completed", "general"),
        "train-1": (65, "Error", message),
        "train-2": (137, "OOMKilled", message),
    }
    assert running(cluster.api.get("pods", "score-1", namespace))


def test_pods_get_loopback_addresses_of_their_own(cluster: Cluster, namespace: str) -> None:
    for number in range(3):
        cluster.api.create(pod(f"p{number}", namespace, {}))
    pods = [cluster.api.wait("pods", f"p{number}", running, namespace) for number in range(3)]
    addresses = {one["status"]["podIP"] for one in pods}
    assert len(addresses) == 3
    assert all(address.startswith(cluster.kwok.cidr.removesuffix("0.0/16")) for address in addresses)


def test_deleted_pod_lingers_and_ends_with_75(cluster: Cluster, namespace: str) -> None:
    document = pod("slow", namespace, {"fake/linger": "2s"})
    document["metadata"]["finalizers"] = ["tests.asrtune.dev/look"]  # its end can be looked at
    cluster.api.create(document)
    cluster.api.create(pod("quick", namespace, {}))
    for name in ("quick", "slow"):
        cluster.api.wait("pods", name, running, namespace)
        deleted = datetime.now(UTC)
        cluster.api.delete("pods", name, namespace)
    cluster.api.wait_until_gone("pods", "quick", namespace)
    slow = cluster.api.wait("pods", "slow", ended, namespace)
    assert (slow["status"]["phase"], terminated(slow)["exitCode"]) == ("Failed", 75)
    assert datetime.fromisoformat(terminated(slow)["finishedAt"]) - deleted >= timedelta(seconds=1)
    cluster.api.patch("pods", "slow", {"metadata": {"finalizers": None}}, namespace)
    cluster.api.wait_until_gone("pods", "slow", namespace)


def test_a_test_plays_the_kubelet(cluster: Cluster, namespace: str) -> None:
    kubelet = cluster.kubelet
    cluster.api.create(pod("played", namespace, {"fake/manual": "true", "fake/run-for": "1ms"}))
    played = cluster.api.wait("pods", "played", lambda one: one["spec"].get("nodeName"), namespace)
    played = kubelet.waiting(played, "ImagePullBackOff", "no such image")
    assert played["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    played = kubelet.run(played)
    assert running(played)
    time.sleep(0.3)
    played = kubelet.end(cluster.api.get("pods", "played", namespace), 71, "no memory", "OOMKilled")
    assert (terminated(played)["message"], terminated(played)["reason"]) == ("no memory", "OOMKilled")
    assert cluster.api.condition(played, "PodScheduled")["status"] == "True"
    cluster.api.create(pod("evicted", namespace, {}))
    evicted = kubelet.evict(cluster.api.wait("pods", "evicted", running, namespace))
    assert cluster.api.condition(evicted, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    cluster.api.create(
        pod("restarts", namespace, {}) | {"spec": {"containers": [{"name": "c", "image": "none"}]}}
    )
    restarted = kubelet.end(cluster.api.wait("pods", "restarts", running, namespace), 1)
    assert running(restarted)
    assert restarted["status"]["containerStatuses"][0]["restartCount"] == 1
