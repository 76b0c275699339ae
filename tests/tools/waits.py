"""Finetunes that have to wait, on a test's cluster with the real operator: what they are told, and how soon."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.gangs import S3
from tools.manifests import chain, manifest

WITHIN = 10.0
"""Seconds in which a wait must be explained."""
RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "unit/operator/recorded_waits.json").read_text()
)
"""Pods that a real kubelet 1.36.3 with containerd 2.2.0 could not start, and the events about them."""
SHARED = {"execution.pods": "Shared"}


@dataclass
class Waiting:
    """A finetune in a namespace of its own."""

    cluster: Cluster
    namespace: str
    since: float
    """When it was created, or when its obstacle came into being."""
    took: float = 0.0

    def told(self, reason: str, start: str = "") -> str:
        """The message, as soon as the Running condition gives that reason and begins so; it must come in time."""

        def probe() -> Json | None:
            found = self.condition()
            fits = found.get("reason") == reason and found["message"].startswith(start)
            return found if fits else None

        found = wait_for(probe, timeout=20, what=f"reason {reason}", state=self.condition)
        self.took = time.monotonic() - self.since
        print(f"{reason} told after {self.took:.1f} s: {found['message']}")
        assert self.took < WITHIN, f"told after {self.took:.1f} s"
        assert found["status"] == "False"
        return str(found["message"])

    def condition(self) -> Json:
        run = self.cluster.api.get("asrfinetunes", "demo", self.namespace)
        listed = run.get("status", {}).get("conditions", [])
        return next((one for one in listed if one["type"] == "Running"), {})

    def pods(self, count: int = 1) -> list[Json]:
        """Its pods, as soon as they all have nodes."""

        def probe() -> list[Json] | None:
            listed = self.cluster.api.list("pods", self.namespace, labels="asrtune.dev/run=demo")
            found = [one for one in listed if one["status"]["phase"] not in {"Succeeded", "Failed"}]
            placed = all(one["spec"].get("nodeName") for one in found)
            return found if len(found) == count and placed else None

        return wait_for(probe, what=f"{count} scheduled pods of {self.namespace}", state=self.condition)

    def play(self, case: str) -> None:
        """Do to its pod what the kubelet did to a recorded one: the same status, the same events."""
        (pod,) = self.pods()
        recorded = RECORDED[case]
        name = pod["metadata"]["name"]
        text = json.dumps(recorded).replace(recorded["pod"]["metadata"]["name"], name)
        played = json.loads(text)
        status = played["pod"]["status"]
        self.cluster.api.patch_status("pods", name, status, self.namespace)
        for number, event in enumerate(played["events"]):
            self._emit(pod, event, f"{name}.{number}")
        self.since = time.monotonic()

    def _emit(self, pod: Json, event: Mapping[str, Any], name: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"kind": "Pod", "apiVersion": "v1"}
        about |= {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
        self.cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": self.namespace},
                "involvedObject": about,
                **event,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "source": {"component": "kubelet"},
            }
        )


def end_all(cluster: Cluster) -> None:
    """Delete all finetunes, and at once what holds nodes for them."""
    for kind in ("asrfinetunes", "jobs", "pods"):
        for one in cluster.api.list(kind, None, labels="" if kind == "asrfinetunes" else "asrtune.dev/run"):
            metadata = one["metadata"]
            cluster.api.delete(kind, metadata["name"], metadata["namespace"], grace_seconds=0)
    wait_for(lambda: not cluster.api.list("pods", None, labels="asrtune.dev/run"), what="the end of the pods")


def start_gang(cluster: Cluster, nodes: int, **changes: Any) -> Waiting:
    """The same with a gang of several nodes, as soon as its Prepare is done and the gang's workload is there."""
    pod = {"annotations": {"fake/prepare.run-for": "100ms"}} | changes.pop("pod", {})
    waiting = start(cluster, pod=pod, resources__nodes=nodes, execution__pods="PerStage", **changes)
    label = "asrtune.dev/stage=train"
    kind = {"JobSet": "jobsets", "PyTorchJob": "pytorchjobs"}.get(
        changes.get("execution__backend", ""), "jobs"
    )
    wait_for(lambda: cluster.api.list(kind, waiting.namespace, labels=label), what=f"{kind} of the gang")
    waiting.since = time.monotonic()
    return waiting


def start(
    cluster: Cluster,
    *,
    pool: str | None = "free",
    pod: Mapping[str, Any] | None = None,
    namespace: str | None = None,
    **changes: Any,
) -> Waiting:
    """Apply a finetune of two stages whose pods go to a pool of nodes.

    Args:
        cluster: with the operator.
        pool: label of the nodes; None: no node selector.
        pod: what the runtime says of pods besides.
        namespace: its own, where it is prepared already.
        changes: of the manifest, `__` for a dot; one pod for all stages unless execution is named.
    """
    namespace = namespace or cluster.new_namespace()
    selector = {"nodeSelector": {"pool": pool}} if pool else {}
    runtime = {
        "apiVersion": "asrtune.dev/v1alpha1",
        "kind": "ASRRuntime",
        "metadata": {"name": "own", "namespace": namespace},
        "spec": {"pod": {**selector, **(pod or {})}},
    }
    cluster.api.apply(runtime)
    told = {key.replace("__", "."): value for key, value in changes.items()}
    document = manifest(chain() | S3 | {"runtimeRef": {"name": "own", "kind": "ASRRuntime"}} | SHARED | told)
    document["metadata"] = {"name": "demo", "namespace": namespace}
    cluster.api.create(document)
    return Waiting(cluster, namespace, time.monotonic())
