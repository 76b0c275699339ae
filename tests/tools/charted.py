"""The charts on a cluster: releases, what they leave, and the operator as their Deployment starts it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.operator import ROOT, Operator
from cluster.waiting import wait_for
from tools.gangs import S3
from tools.helm import CHART, SYSTEM, Helm
from tools.manifests import chain, manifest
from tools.operated import SHORT
from tools.ports import free_port

DEPLOYMENT = "asrtune-operator"
BRIEF = ("--set", r"runtime.spec.pod.annotations.fake/run-for=300ms")
"""kwok ends the runs' pods after that time."""
PASSING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "endpointslices.discovery.k8s.io"}
"""Kinds whose objects come and go without us; a Lease of ours is asked for by name."""


def install(on: Helm, *options: str | Path, namespace: str = SYSTEM, verb: str = "install") -> None:
    """Install or upgrade the chart, and wait until its pods are ready."""
    on(verb, "asrtune", CHART, "--namespace", namespace, "--wait", "--timeout", "60s", *options)


def uninstall(on: Helm, namespace: str = SYSTEM) -> None:
    """As docs/install.md says it."""
    on("uninstall", "asrtune", "--namespace", namespace, "--wait", "--cascade", "foreground")


def everything(cluster: Cluster) -> set[str]:
    """Kind, namespace and name of every object of the cluster that stays by itself."""
    kubectl = cluster.plane.kubectl
    kinds = set(kubectl("api-resources", "--verbs=list", "--output=name").split()) - PASSING
    listed = kubectl("get", ",".join(sorted(kinds)), "--all-namespaces", "--output=json")
    return {
        f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for one in json.loads(listed)["items"]
    }


def wait_for_only(cluster: Cluster, before: set[str]) -> None:
    """Return when nothing is there beyond `before`; the garbage collector takes a moment."""
    seen: set[str] = set()

    def settled() -> bool:
        seen.clear()
        seen.update(everything(cluster) - before)
        return not seen

    wait_for(settled, timeout=60, what="the end of all objects", state=lambda: sorted(seen), every=0.5)


def finetune(namespace: str, name: str = "demo", **changes: object) -> Json:
    """A short run that names no runtime, unless told to."""
    document = manifest(chain(stages=SHORT) | S3 | changes)
    document["metadata"] = {"name": name, "namespace": namespace}
    return document


def reachable() -> list[str]:
    """Values that let the operator listen where a test can ask it."""
    quick = {"discoverySeconds": 1, "progressSeconds": 1, "statusSeconds": 1, "leaseSeconds": 3}
    settings = {"listen": "127.0.0.1", "port": free_port(), **quick}
    return [word for name, value in settings.items() for word in ("--set", f"settings.{name}={value}")]


class ChartedOperator(Operator):
    """One replica of an installed release: exactly the arguments of its pod, and a kubeconfig with its account's token.

    A process outside has no ServiceAccount mounted; nothing else differs.
    """

    def __init__(self, cluster: Cluster, namespace: str = SYSTEM) -> None:
        super().__init__(cluster, name=f"operator-of-{namespace}")
        pod = pods_of(cluster, namespace)[0]
        (container,) = pod["spec"]["containers"]
        name = pod["metadata"]["name"]
        self.arguments: Sequence[str] = [one.replace("$(POD_NAME)", name) for one in container["args"]]
        self.port = int(next(one for one in self.arguments if one.startswith("--port=")).partition("=")[2])
        self.kubeconfig: Path | None = cluster.plane.as_service_account(
            namespace, pod["spec"]["serviceAccountName"]
        )
        self.program = container["command"]

    @property
    def command(self) -> list[str | Path]:
        assert self.kubeconfig is not None
        (program,) = self.program
        return [ROOT / ".venv/bin" / program, *self.arguments, "--kubeconfig", self.kubeconfig]


def pods_of(cluster: Cluster, namespace: str = SYSTEM) -> list[Json]:
    """The operator's pods that are not being deleted."""
    found = cluster.api.list("pods", namespace, labels="app.kubernetes.io/component=operator")
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]
