"""The watches on a real API server, through a proxy that breaks them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asrtune_operator.follow.streams import Streams
from asrtune_operator.kube.credentials import credentials
from asrtune_operator.values.kinds import FINETUNES, PODS, Resource
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.fault_proxy import run_fault_proxy
from tools.manifests import manifest


def account(cluster: Cluster, namespace: str) -> Path:
    """Somebody with a token: client certificates end at the proxy."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    cluster.api.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "watcher", "namespace": namespace},
            "roleRef": role,
            "subjects": [subject],
        }
    )
    return cluster.plane.as_service_account(namespace, "default")


def make(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.api.create(manifest() | {"metadata": {"name": name, "namespace": namespace}})


async def heard(cluster: Cluster, namespace: str, enough: Callable[[], bool]) -> None:
    """Make runs, named run-0 and so on, until enough of them were heard of."""
    for number in range(100):
        await asyncio.sleep(0.1)
        make(cluster, namespace, f"run-{number}")
        if enough():
            return
    raise AssertionError("the streams bring nothing")


def test_they_need_no_name_of_the_user(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user has none: no entry in /etc/passwd, no USER."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("getpass.getuser", nobody)
    seen: list[str] = []

    async def body() -> None:
        async with credentials(account(cluster, namespace), None) as configuration:
            streams = Streams(
                configuration,
                [FINETUNES],
                {},
                [namespace],
                lambda _, document, __: seen.append(document["metadata"]["name"]),
            )
            streams.start()
            await heard(cluster, namespace, lambda: "run-2" in seen)
            assert streams.alive
            await streams.stop()

    asyncio.run(body())


def test_a_watch_that_breaks_in_the_midst_of_a_line_is_noticed(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    access = cluster.plane.access
    seen: list[tuple[Resource, str]] = []

    async def body(file: Path) -> float:
        async with credentials(file, None) as configuration:
            streams = Streams(
                configuration,
                [FINETUNES, PODS],
                {},
                [namespace],
                lambda kind, document, _: seen.append((kind, document["metadata"]["name"])),
            )
            streams.start()
            await heard(cluster, namespace, lambda: (FINETUNES, "run-2") in seen)
            assert streams.alive
            proxy.torn = 1.0
            make(cluster, namespace, "torn")
            torn = time.monotonic()
            await asyncio.to_thread(wait_for, lambda: not streams.alive, timeout=20, what="the streams' end")
            return time.monotonic() - torn

    with run_fault_proxy(access.server, access.authority) as proxy:
        kubeconfig = json.loads(account(cluster, namespace).read_text())
        kubeconfig["clusters"][0]["cluster"] = {"server": proxy.url}
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(kubeconfig))
        seconds = asyncio.run(body(file))
    print(f"noticed after {seconds:.1f} s")
