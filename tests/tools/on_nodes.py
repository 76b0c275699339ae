"""Runs whose pods are real: a tiny project on a volume, and the machine's own programs on read-only volumes."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from asrtune_trainer.train.checkpoint import verify
from cluster.binaries import find
from cluster.client import Json
from cluster.cluster import Cluster
from cluster.image import IMAGE, machine_directories
from cluster.waiting import wait_for
from tools.plugin import Plugin
from tools.project import Project, make_project

USER: Final = 12345
"""User id of the pods' processes; this machine knows no such user."""
DATA: Final = "/data"
"""Where pods have the project."""
SLOW: Final = 600.0
"""Seconds for a whole chain: each of its processes loads PyTorch, on a machine that may have two cores."""
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


def runtime() -> Json:
    """The platform team's half: the image, and who may write on the volume."""
    return {
        "apiVersion": "asrtune.dev/v1alpha1",
        "kind": "ClusterASRRuntime",
        "metadata": {"name": "default"},
        "spec": {
            "image": IMAGE,
            "pod": {"runAsUser": USER, "env": [{"name": "OMP_NUM_THREADS", "value": "1"}]},
        },
    }


class Workplace:
    """A namespace with a project that the pods of its runs can use.

    Attributes:
        namespace: its name; it enforces the Pod Security level `restricted`.
        project: the project, on this machine's disk.
        uri: where pods find it.
        disk: the same on this machine.
    """

    def __init__(
        self, cluster: Cluster, directory: Path, *, programs: Sequence[Path] | None = None, user: int = USER
    ) -> None:
        """Makes it.

        Args:
            cluster: with real nodes.
            directory: for the project.
            programs: directories of this machine that the pods need; none where their image has it all.
            user: whom the project belongs to.
        """
        self.cluster = cluster
        self.namespace = cluster.new_namespace("e2e", RESTRICTED)
        self.project: Project = make_project(directory)
        (directory / "broken.jsonl").write_text('{"key": "a", "source": "nowhere.wav", "target": "x"}\n' * 3)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, user, user)
        self.uri, self.disk = f"file://{DATA}", directory
        self._own: dict[str, Any] = {
            "volumes": [
                self._volume(f"machine-{number}", path, read_only=True)
                for number, path in enumerate(machine_directories() if programs is None else programs)
            ]
        }
        self._own["volumes"].append(self._volume("data", directory) | {"mountPath": DATA})

    def run(self, name: str, change: Callable[[Project], None] = lambda _: None, **spec: Any) -> RealRun:
        """A finetune of the project: its chain, on two nodes; not applied.

        Args:
            name: of the finetune, and of its directory below the project's `runs`.
            change: changes the stages' parameters.
            spec: further fields of the spec.
        """
        project = Project(self.project.root, copy.deepcopy(self.project.spec))
        change(project)
        document = json.loads(json.dumps(project.spec))
        document["model"]["uri"] = f"{self.uri}/{document['model']['uri']}"
        for sources in document["data"].values():
            for source in sources:
                source["uri"] = f"{self.uri}/{source['uri']}"
        document |= {
            "output": {"uri": f"{self.uri}/runs/{name}"},
            "resources": {"nodes": 2, "cpu": "500m", "memory": "3Gi"},
            "runPolicy": {"gracePeriodSeconds": 60, "backoffSeconds": 1},
        }
        document |= self._own | spec
        manifest = {
            "apiVersion": "asrtune.dev/v1alpha1",
            "kind": "ASRFinetune",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": document,
        }
        return RealRun(self, manifest)

    def runtime(self, name: str, *, pod: Json | None = None, **spec: Any) -> Json:
        """Make a runtime of the namespace, like the cluster's but for what is given here. Returns a `runtimeRef`."""
        document = runtime()
        document |= {"kind": "ASRRuntime", "metadata": {"name": name, "namespace": self.namespace}}
        document["spec"] |= spec
        document["spec"]["pod"] |= pod or {}
        self.cluster.api.apply(document)
        return {"name": name, "kind": "ASRRuntime"}

    def _volume(self, name: str, path: Path, *, read_only: bool = False) -> Json:
        """A directory of this machine as its administrator gives it to a namespace: the claim, for a run's spec."""
        size = {"storage": "1Gi"}
        shared = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        volume = f"{self.namespace}-{name}"
        self.cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume},
                "spec": {**shared, "capacity": size, "hostPath": {"path": str(path), "type": "Directory"}},
            }
        )
        claim = {**shared, "resources": {"requests": size}, "volumeName": volume}
        self.cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": claim,
            }
        )
        return {"name": name, "claim": name, "mountPath": str(path), "readOnly": read_only}


@dataclass
class RealRun:
    """A finetune, from its manifest to its end."""

    place: Workplace
    manifest: Json

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def output(self) -> Path:
        """Where its files lie on this machine."""
        return self.place.disk / "runs" / self.name

    def apply(self) -> None:
        self.place.cluster.plane.kubectl("apply", "-f", "-", stdin=json.dumps(self.manifest))

    def get(self) -> Json:
        return self.place.cluster.api.get("asrfinetunes", self.name, self.place.namespace)

    def status(self) -> Json:
        found: Json = self.get().get("status", {})
        return found

    def condition(self, kind: str) -> Json:
        return self.place.cluster.api.condition(self.get(), kind)

    def wait(self, fits: Callable[[Json], Any], what: str, timeout: float = 180) -> Json:
        """The status as soon as it is as wanted; AssertionError with status and logs of the pods where it is not."""
        wait_for(lambda: fits(self.status()), timeout=timeout, what=what, state=self._seen, every=0.2)
        return self.status()

    def wait_phase(self, phase: str, timeout: float = 240) -> Json:
        """The status at an end; at another end than wanted, at once an AssertionError."""
        ends = {"Succeeded", "Failed", phase}
        found = self.wait(lambda status: status.get("phase") in ends, phase, timeout)
        assert found["phase"] == phase, json.dumps(self._seen(), indent=1, ensure_ascii=False)
        return found

    def pods(self, stage: str | None = None) -> list[Json]:
        labels = f"asrtune.dev/run={self.name}" + (f",asrtune.dev/stage={stage}" if stage else "")
        return self.place.cluster.api.list("pods", self.place.namespace, labels=labels)

    def plugin(self, *arguments: str, code: int = 0) -> str:
        """What `kubectl asrtune` says about the run, ending with this code."""
        command, *rest = arguments
        start = Plugin(self.place.cluster.kubeconfig).start
        kubectl = find("kube", "kubectl")
        process = start(kubectl, "asrtune", command, self.name, "-n", self.place.namespace, *rest)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        return out

    def suspend(self, *, suspended: bool) -> None:
        change = {"spec": {"suspend": suspended}}
        self.place.cluster.api.patch("asrfinetunes", self.name, change, self.place.namespace)

    def delete(self) -> None:
        self.place.cluster.api.delete("asrfinetunes", self.name, self.place.namespace)

    def wait_for_step(self, step: int) -> Json:
        """The status when Train has come to a step; the operator has read it from rank 0's pod."""
        return self.wait(
            lambda status: status.get("progress", {}).get("step", 0) >= step, f"step {step}", timeout=240
        )

    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints on the volume that are complete."""
        found = (self.output / "stages/train/checkpoints").glob("step-*")
        return sorted(int(path.name.removeprefix("step-")) for path in found if verify(path) is not None)

    def trained(self) -> tuple[list[float], dict[str, torch.Tensor]]:
        """Losses of all steps, and the best checkpoint's weights."""
        stage = self.output / "stages/train"
        manifest = json.loads((stage / "manifest.json").read_text())
        lines = map(json.loads, (stage / manifest["outputs"]["history"]).read_text().splitlines())
        losses = {line["step"]: line["loss"] for line in lines if line["event"] == "TrainStep"}
        weights = torch.load(stage / manifest["outputs"]["model"], weights_only=True)
        return [losses[step] for step in sorted(losses)], weights

    def attempts(self, stage: str) -> list[Json]:
        return [one for one in self.status().get("attempts", []) if one["stage"] == stage]

    def _seen(self) -> Json:
        logs = {}
        for pod in self.pods():
            name = pod["metadata"]["name"]
            try:
                logs[name] = self.place.cluster.plane.kubectl(
                    "logs", "-n", self.place.namespace, name, "--tail=25"
                ).splitlines()
            except AssertionError as error:
                logs[name] = [str(error), json.dumps(pod["status"])]
        return {"status": self.status(), "logs": logs}


def longer(project: Project) -> None:
    """Training that can be disturbed: 150 steps."""
    project.stage("train").update(epochs=50)


def training_alone(project: Project) -> None:
    longer(project)
    del project.spec["stages"][2:]


def same(one: Any, other: Any) -> None:
    """Losses of all steps and weights, bit by bit."""
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])


@dataclass(frozen=True)
class Demo:
    """A finished run of the whole chain, and what is gone once its pods are, which a later test's fault may delete."""

    run: RealRun
    screen: str
    """`kubectl asrtune status` while it trained."""
    gang: list[str]
    """Nodes of the pods that trained."""
    printed: str
    """`kubectl asrtune logs` of the training."""
