"""The kubectl plugin beside a real operator: what it waits for, and what it says would be created."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from asrtune_operator.values.names import RUN_UID
from cluster.cluster import Cluster
from cluster.operator import Operator
from tools.plugin import Plugin
from tools.statuses import run

Json = dict[str, Any]
IMAGE = "registry.example/trainer:1"


@pytest.fixture
def operator(cluster: Cluster, namespace: str) -> Iterator[Operator]:
    """One for the test's namespace alone."""
    options = ("--namespace", namespace, "--no-lease", "--image", IMAGE)
    one = Operator(cluster, name=f"operator-{namespace}", options=options)
    process = one.start()
    yield one
    process.stop()


def finetune(namespace: str, **spec: Any) -> Json:
    document = run({}, namespace=namespace, **spec)
    document["metadata"] = {"name": "calls", "namespace": namespace}
    del document["status"]
    return document


def runtime(**annotations: str) -> Json:
    return {"spec": {"pod": {"annotations": {f"fake/{key}": value for key, value in annotations.items()}}}}


def with_runtime(cluster: Cluster, namespace: str, document: Json, **annotations: str) -> Json:
    """A run whose fake pods behave so."""
    cluster.api.create(
        {
            "apiVersion": "asrtune.dev/v1alpha1",
            "kind": "ASRRuntime",
            "metadata": {"name": "fake", "namespace": namespace},
            **runtime(**annotations),
        }
    )
    changed = copy.deepcopy(document)
    changed["spec"]["runtimeRef"] = {"kind": "ASRRuntime", "name": "fake"}
    return cluster.api.create(changed)


def test_suspend_and_resume_wait_for_the_pods(cluster: Cluster, namespace: str, operator: Operator) -> None:
    made = with_runtime(cluster, namespace, finetune(namespace), linger="2s")
    plugin = Plugin(cluster.kubeconfig)
    cluster.api.wait(
        "asrfinetunes", "calls", lambda one: one.get("status", {}).get("phase") == "Running", namespace
    )
    labels = f"{RUN_UID}={made['metadata']['uid']}"
    said = plugin.says("suspend", "calls", "-n", namespace, "--wait")
    assert said.endswith("is suspended, no pods are left. There is no checkpoint yet.")
    assert [pod["status"]["phase"] for pod in cluster.api.list("pods", namespace, labels=labels)] == []
    assert "no GPUs are held" in plugin.says("why", "calls", "-n", namespace, code=1)
    said = plugin.says("resume", "calls", "-n", namespace, "--wait")
    assert said.endswith("calls: Running, stage prepare.")
    assert "Running" in plugin.says("why", "calls", "-n", namespace)


def test_retry_starts_a_failed_run_again(cluster: Cluster, namespace: str, operator: Operator) -> None:
    failing = {"prepare-1.run-for": "200ms", "prepare-1.exit-code": "65"}
    with_runtime(cluster, namespace, finetune(namespace), **failing)
    plugin = Plugin(cluster.kubeconfig)
    cluster.api.wait(
        "asrfinetunes", "calls", lambda one: one.get("status", {}).get("phase") == "Failed", namespace
    )
    assert "Failed" in plugin.says("why", "calls", "-n", namespace, code=2)
    assert "DataInvalid" in plugin.says("retry", "calls", "-n", namespace)
    after = cluster.api.wait(
        "asrfinetunes", "calls", lambda one: one["status"]["phase"] == "Running", namespace
    )
    assert after["status"]["stages"][0]["attempts"] == 2
    screen = plugin.says("status", "calls", "-n", namespace)
    assert "prepare 1" in screen
    assert "DataInvalid" in screen


def test_render_says_what_the_operator_creates(
    cluster: Cluster, namespace: str, operator: Operator, tmp_path: Path
) -> None:
    document = finetune(namespace)
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(document))
    done = Plugin.run("render", str(file), "--image", IMAGE, "--stage", "prepare")
    assert done.exit_code == 0, done.stderr
    made = cluster.api.create(document)
    text = done.stdout.replace("00000000-0000-0000-0000-000000000000", made["metadata"]["uid"])
    rendered = list(yaml.safe_load_all(text))
    assert [one["kind"] for one in rendered] == ["ConfigMap", "Job"]
    for one in rendered:
        name = one["metadata"]["name"]
        there = cluster.api.wait(one["kind"], name, bool, namespace)
        assert _within(one, there) == [], name


def _within(asked: Any, there: Any, path: str = "") -> list[str]:
    """Where an object lacks something that was asked for; what the API server adds is no difference."""
    if isinstance(asked, dict) and isinstance(there, dict):
        return [
            line for key, value in asked.items() for line in _within(value, there.get(key), f"{path}.{key}")
        ]
    if isinstance(asked, list) and isinstance(there, list) and len(asked) == len(there):
        pairs = zip(asked, there, strict=True)
        return [line for number, (a, b) in enumerate(pairs) for line in _within(a, b, f"{path}[{number}]")]
    return [] if asked == there else [f"{path}: {asked!r} became {there!r}"]
