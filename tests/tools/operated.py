"""Finetunes on a test's cluster with the real operator: started, disturbed, and how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.gangs import CHAIN, S3
from tools.manifests import chain, manifest

SHORT = CHAIN[:2]
"""A pod without GPUs, then a gang."""
CHILDREN = (
    "jobs",
    "pytorchjobs",
    "trainjobs",
    "jobsets",
    "trainingruntimes",
    "configmaps",
    "services",
    "pods",
)
"""Every kind that the operator, or a controller behind it, makes for a run."""
PATIENCE = 120.0
"""Seconds for what happens within some seconds on a machine that does nothing else."""
BRIEF = {"fake/run-for": "300ms"}


@dataclass(frozen=True)
class End:
    """What a run came to: all that must be the same whatever ran its pods.

    Attributes:
        phase: of the run.
        verdict: reason of the condition Complete or Failed; empty while it has neither.
        stages: name, state, attempts, retries and interruptions of each.
        attempts: stage, number and verdict of each.
    """

    phase: str
    verdict: str
    stages: tuple[tuple[str, str, int, int, int], ...]
    attempts: tuple[tuple[str, int, str], ...]


def end_of(run: Json) -> End:
    """What a run has come to so far."""
    status = run.get("status", {})
    ends = [one["reason"] for one in status.get("conditions", []) if one["type"] in {"Complete", "Failed"}]
    return End(
        phase=status.get("phase", ""),
        verdict="".join(ends),
        stages=tuple(
            (
                *(one["name"], one["state"]),
                *(one.get(count, 0) for count in ("attempts", "retries", "interruptions")),
            )
            for one in status.get("stages", [])
        ),
        attempts=tuple(
            (one["stage"], one["attempt"], one.get("verdict", "")) for one in status.get("attempts", [])
        ),
    )


@dataclass(frozen=True)
class Runs:
    """The finetunes of one namespace."""

    cluster: Cluster
    namespace: str

    def describe_pods(self, annotations: Mapping[str, str], name: str = "own", **pod: Any) -> None:
        """Write a runtime of the namespace: how kwok lets its pods end, and what else is said of them."""
        self.cluster.api.apply(
            {
                "apiVersion": "asrtune.dev/v1alpha1",
                "kind": "ASRRuntime",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"pod": {"annotations": dict(annotations), **pod}},
            }
        )

    def start(self, name: str, changes: Mapping[str, Any] | None = None) -> None:
        """Create a finetune with the runtime `own`; `changes` as for `tools.manifests.manifest`."""
        self.cluster.api.create(self.document(name, changes))

    def document(self, name: str, changes: Mapping[str, Any] | None = None) -> Json:
        """Its manifest."""
        own = {"runtimeRef": {"name": "own", "kind": "ASRRuntime"}}
        document = manifest(chain(stages=SHORT) | S3 | own | dict(changes or {}))
        document["metadata"] = {"name": name, "namespace": self.namespace}
        return document

    def get(self, name: str) -> Json:
        """The finetune."""
        return self.cluster.api.get("asrfinetunes", name, self.namespace)

    def change(self, name: str, spec: Json) -> None:
        """A merge patch of the spec."""
        self.cluster.api.patch("asrfinetunes", name, {"spec": spec}, self.namespace)

    def pods(self, name: str, stage: str = "train") -> list[Json]:
        """Pods of a stage that are not being deleted, whatever the attempt."""
        labels = f"asrtune.dev/run={name},asrtune.dev/stage={stage}"
        found = self.cluster.api.list("pods", self.namespace, labels=labels)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def wait_running(self, name: str, stage: str = "train") -> list[Json]:
        """The stage's pods as soon as the operator says that they all run."""

        def running() -> list[Json] | None:
            states = {one["name"]: one["state"] for one in self.get(name).get("status", {}).get("stages", [])}
            return self.pods(name, stage) if states.get(stage) == "Running" else None

        return wait_for(
            running, timeout=PATIENCE, what=f"{stage} of {name} to run", state=lambda: self._seen(name)
        )

    def wait_end(self, name: str, phases: Sequence[str] = ("Succeeded", "Failed")) -> End:
        """How it ended, or what it came to in one of these phases."""

        def ended() -> End | None:
            end = end_of(self.get(name))
            return end if end.phase in phases else None

        return wait_for(ended, timeout=PATIENCE, what=f"{name} in {phases}", state=lambda: self._seen(name))

    def children(self, name: str) -> list[str]:
        """Kind and name of everything that is there for a run."""
        api, label = self.cluster.api, f"asrtune.dev/run={name}"
        served = {one["spec"]["names"]["plural"] for one in api.list("customresourcedefinitions", None)}
        known = [kind for kind in CHILDREN if kind in served | {"jobs", "configmaps", "services", "pods"}]
        return [
            f"{kind}/{one['metadata']['name']}"
            for kind in known
            for one in api.list(kind, self.namespace, labels=label)
        ]

    def wait_nothing_left(self, name: str) -> None:
        """Returns when all of it is gone; the garbage collector looks for new kinds every 30 s only."""
        wait_for(
            lambda: not self.children(name),
            timeout=PATIENCE,
            what=f"the end of all of {name}",
            state=lambda: self.children(name),
            every=0.5,
        )

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reason and message of each event about the finetune."""
        return [(one["reason"], one["message"]) for one in self.cluster.api.events(name, self.namespace)]

    def _seen(self, name: str) -> object:
        return self.get(name).get("status"), self.children(name)
