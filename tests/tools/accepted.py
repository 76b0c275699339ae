"""The telephone demo's run on a cluster, applied by somebody who may do no more than start runs, watched to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.attempts import RESTRICTED
from tools.boards import chosen
from tools.plugin import Plugin
from tools.prometheus import Prometheus
from tools.steps import Steps
from tools.telephone import credentials, finetune
from tools.versitygw import S3Server

NAME: Final = "telephone-demo"
GROUP: Final = "speech-engineers"
PATIENCE: Final = 1800.0
"""Seconds for any step of the run, on a machine that may have two cores."""


@dataclass(frozen=True)
class Accepted:
    """What there is to look at. Times are unix seconds.

    Attributes:
        namespace: of the run.
        status: of the run at its end.
        columns: what `kubectl get asrfinetune` prints then, by heading.
        gang: the pods of Train.
        begun: before its first pod.
        ended: when its pods, and the series that they exported, were gone.
    """

    cluster: Cluster
    server: S3Server
    prometheus: Prometheus
    namespace: str
    status: Json
    columns: dict[str, str]
    gang: Sequence[Json]
    begun: float
    ended: float

    @property
    def variables(self) -> dict[str, str]:
        """What a reader of the dashboards has chosen."""
        return chosen(self.namespace, NAME, self.ended - self.begun)

    def condition(self, kind: str) -> Json:
        """One of the run's."""
        return self.cluster.api.condition({"status": self.status}, kind)


def accept(
    cluster: Cluster, server: S3Server, prometheus: Prometheus, steps: Steps, directory: Path
) -> Accepted:
    """The whole course; AssertionError with status and logs where the run does not complete."""
    namespace = cluster.new_namespace("speech", RESTRICTED)
    cluster.api.create(credentials(server, namespace))
    manifest = directory / "finetune.yaml"
    manifest.write_text(json.dumps(finetune(server)))  # JSON is YAML
    course = _Course(cluster, namespace, _engineer(cluster, namespace))
    begun = time.time()
    steps.begin()
    course.kubectl("apply", "-f", manifest)
    course.wait(lambda _: any(one["status"]["phase"] == "Running" for one in course.pods()), "first pod")
    steps.since("kubectl apply to the first pod that runs")
    status = course.wait(lambda status: status.get("progress", {}).get("step"), "first steps")
    # The demo tells of every 40th step alone.
    steps.since(f"kubectl apply to training step {status['progress']['step']}")
    gang = course.pods("train")
    status = course.wait(lambda status: status.get("phase") == "Succeeded", "end")
    steps.since("kubectl apply to Complete")
    columns = course.columns()
    print("\n".join(course.screens()))
    course.forget_pods()
    series = f'{{__name__=~"asrtune_.+",run="{NAME}"}}'
    wait_for(lambda: not prometheus.at(series, time.time()), timeout=60, what="the end of the pods' series")
    return Accepted(
        cluster, server, prometheus, namespace, status, columns, gang, begun=begun, ended=time.time()
    )


def _engineer(cluster: Cluster, namespace: str) -> Path:
    """As docs/install.md has it: Kubernetes' own role `edit`, for a group. Her kubeconfig."""
    options = ("--clusterrole=edit", f"--group={GROUP}", "--namespace", namespace)
    cluster.plane.kubectl("create", "rolebinding", "engineers", *options)
    pair = cluster.plane.authority.issue("engineer", user="engineer", group=GROUP)
    return cluster.plane.access_of(pair).write_kubeconfig(cluster.plane.root / "engineer.kubeconfig")


@dataclass(frozen=True)
class _Course:
    """The run, seen by the administrator, and by the engineer whose it is."""

    cluster: Cluster
    namespace: str
    kubeconfig: Path

    def kubectl(self, *arguments: str | Path) -> str:
        own = (*arguments, "--namespace", self.namespace)
        return self.cluster.plane.kubectl(*own, kubeconfig=self.kubeconfig)

    def pods(self, stage: str = "") -> list[Json]:
        labels = f"asrtune.dev/run={NAME}" + (f",asrtune.dev/stage={stage}" if stage else "")
        return self.cluster.api.list("pods", self.namespace, labels=labels)

    def status(self) -> Json:
        run = self.cluster.api.get("asrfinetunes", NAME, self.namespace)
        found: Json = run.get("status", {})
        return found

    def wait(self, fits: Callable[[Json], Any], what: str) -> Json:
        """The status when it is as wanted; AssertionError when the run has failed."""
        wait_for(
            lambda: (status := self.status()) and (fits(status) or status.get("phase") == "Failed"),
            timeout=PATIENCE,
            what=f"the {what} of {NAME}",
            state=self.seen,
            every=0.2,
        )
        status = self.status()
        assert status.get("phase") != "Failed", json.dumps(self.seen(), indent=1, ensure_ascii=False)
        return status

    def columns(self) -> dict[str, str]:
        header, row = self.kubectl("get", "asrfinetune", NAME).splitlines()
        begins = [header.index(word) for word in header.split()]
        ends = [*begins[1:], None]
        return {header[a:b].strip(): row[a:b].strip() for a, b in zip(begins, ends, strict=True)}

    def screens(self) -> list[str]:
        """What the engineer sees at the end."""
        of = ("status", NAME, "--namespace", self.namespace)
        return [self.kubectl("get", "asrfinetune", NAME), Plugin(self.kubeconfig)(*of).stdout]

    def seen(self) -> Json:
        """The status, and the end of every pod's log."""
        logs = {}
        for pod in self.pods():
            name = pod["metadata"]["name"]
            try:
                logs[name] = self.kubectl("logs", name, "--tail=25").splitlines()
            except AssertionError as error:
                logs[name] = [str(error)]
        return {"status": self.status(), "logs": logs}

    def forget_pods(self) -> None:
        """As a cluster does sooner or later with pods that have ended."""
        for pod in self.pods():
            self.cluster.api.delete("pods", pod["metadata"]["name"], self.namespace)
        wait_for(lambda: not self.pods(), timeout=60, what="the end of the pods", state=self.pods)
