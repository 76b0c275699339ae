"""Three hundred wrong manifests: each is refused at admission or fails with SpecInvalid, and does no more than that."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools.gangs import CHAIN, S3
from tools.manifests import chain, manifest

COUNT = 300
PATH = "/apis/asrtune.dev/v1alpha1/namespaces/{}/asrfinetunes?fieldValidation=Strict"
WRONG: list[Any] = [
    None,
    "",
    " ",
    "x" * 5000,
    -1,
    0.5,
    1e400,
    True,
    [],
    {},
    [[]],
    [{}],
    {"a": 1},
    "../..",
    "\u0000",
    "☃",
    2**70,
]
"""Values that hardly any field takes."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("hostile")) as cluster:
        annotations = {"fake/run-for": "1s"}
        spec = {"pod": {"annotations": annotations}}
        runtime = {"apiVersion": "asrtune.dev/v1alpha1", "kind": "ClusterASRRuntime", "spec": spec}
        cluster.api.apply(runtime | {"metadata": {"name": "default"}})
        yield cluster


def valid(**changes: Any) -> Json:
    return copy.deepcopy(manifest(chain(stages=CHAIN) | S3 | changes))


def structural(count: int) -> Iterator[tuple[str, Json]]:
    """One place of a valid manifest gets a wrong value: what a schema can see."""
    chance = random.Random(7)
    while count:
        document = valid()
        path = chance.choice(sorted(places(document["spec"]), key=str))
        value = chance.choice(WRONG)
        if put(document["spec"], path, value):
            count -= 1
            yield f"{'.'.join(map(str, path))} = {str(value)[:20]}", document


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def put(document: Any, path: tuple[Any, ...], value: Any) -> bool:
    for key in path[:-1]:
        document = document[key]
    if document[path[-1]] == value:
        return False
    document[path[-1]] = value
    return True


def logical() -> Iterator[tuple[str, Json]]:
    """Every field is right by itself: only the operator can see that they do not go together."""
    preset = {"stages": None, "recipe": {"preset": "telephone-8k"}}
    cases: dict[str, dict[str, Any]] = {
        "relative output": {"output.uri": "runs/one"},
        "relative model": {"model.uri": "base"},
        "relative data": {"data.train.0.uri": "train.jsonl"},
        "relative test set": {"data.test": [{"name": "t", "uri": "t.jsonl"}]},
        "file in a pod's nowhere": {"output.uri": "./x"},
        "unknown preset": preset | {"recipe": {"preset": "telefone-8k"}},
        "unknown stage in overrides": preset
        | {"recipe": {"preset": "telephone-8k", "overrides": [{"name": "trian", "train": {"epochs": 1}}]}},
        "wrong type in overrides": preset
        | {"recipe": {"preset": "telephone-8k", "overrides": [{"name": "prepare", "train": {"epochs": 1}}]}},
        "startAt unknown": preset | {"startAt": "nowhere"},
        "stopAfter unknown": preset | {"stopAfter": "nowhere"},
        "startAt after stopAfter": {"startAt": "publish", "stopAfter": "prepare"},
        "simulate an unknown source": {
            "stages": [
                {"name": "prepare", "type": "Prepare"},
                {"name": "s", "type": "Simulate", "simulate": {"sources": ["no"]}},
            ]
        },
        "gate without Evaluate": {
            "stages": [stage for stage in CHAIN if stage["type"] != "Evaluate"],
            "qualityGate": {"criteria": [{"maxPercent": "5"}]},
        },
        "gate on an unknown set": {"qualityGate": {"criteria": [{"set": "nowhere", "maxPercent": "5"}]}},
    }
    for name, changes in cases.items():
        document = valid(**{key: value for key, value in changes.items() if value is not None})
        for key in [key for key, value in changes.items() if value is None]:
            document["spec"].pop(key, None)
        yield name, document


def mentions_a_field(message: str) -> bool:
    return "spec" in message or "strict decoding" in message or "json" in message.lower()


def test_wrong_manifests_hurt_nobody(cluster: Cluster, namespace: str) -> None:
    operator = Operator(cluster)
    process = operator.start()
    pid = process.pid
    cases = [*logical()]
    cases += structural(COUNT - len(cases))
    admitted: dict[str, str] = {}
    unclear: dict[str, Any] = {}
    refused = 0
    for number, (name, document) in enumerate(cases):
        document["metadata"] = {"name": f"case-{number}", "namespace": namespace}
        status, answer = cluster.api.request("POST", PATH.format(namespace), document)
        if status == 201:
            admitted[f"case-{number}"] = name
        elif status in {400, 422} and mentions_a_field(answer["message"]):
            refused += 1
        else:
            unclear[name] = (status, answer.get("message"))
    assert unclear == {}
    print(f"{len(cases)} manifests: {refused} refused at admission, {len(admitted)} admitted")

    def settled() -> bool:
        return all(phase_of(cluster, namespace, name) for name in admitted)

    wait_for(settled, timeout=60, what="a phase of every admitted manifest")
    logic = {name for name, _ in logical()}
    blamed = {}
    for name, case in admitted.items():
        run = cluster.api.get("asrfinetunes", name, namespace)
        failed = next((one for one in run["status"]["conditions"] if one["type"] == "Failed"), None)
        if case in logic:
            assert failed is not None, (case, run["status"])
            blamed[case] = (failed["reason"], failed["message"])
    assert {reason for reason, _ in blamed.values()} <= {"SpecInvalid"}
    assert all(len(message) > 20 for _, message in blamed.values()), blamed
    cluster.api.create(valid() | {"metadata": {"name": "good", "namespace": namespace}})
    wait_for(lambda: phase_of(cluster, namespace, "good") == "Succeeded", timeout=60, what="the good run")
    assert (process.alive, process.pid) == (True, pid)
    Path(process.log).read_text()
    assert "Traceback" not in process.log_since(0, lines=100_000)
    process.stop()


def phase_of(cluster: Cluster, namespace: str, name: str) -> str:
    return cluster.api.get("asrfinetunes", name, namespace).get("status", {}).get("phase", "")
