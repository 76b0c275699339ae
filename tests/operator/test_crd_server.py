"""The CRDs in a real kube-apiserver: what it takes, what it refuses, and in which words."""

from typing import Any

import pytest

from asrtune_api.finetune import ASRFinetune
from asrtune_api.resolve import resolve
from asrtune_api.status import FinetuneStatus
from cluster.client import Client
from cluster.cluster import Cluster
from tools.manifests import ACCEPTED, REFUSED, manifest

FINETUNES = "/apis/asrtune.dev/v1alpha1/namespaces/default/asrfinetunes"
STRICT = "?fieldValidation=Strict"


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Client:
    return cluster.api


def create(server: Client, document: dict[str, Any], *, keep: bool = False) -> tuple[int, Any]:
    return server.request("POST", f"{FINETUNES}{STRICT}{'' if keep else '&dryRun=All'}", document)


def test_server_refuses_what_the_laptop_refuses(server: Client) -> None:
    told = {case.name: create(server, manifest(case.changes)) for case in REFUSED}
    assert {name: answer for name, (status, answer) in told.items() if status not in {400, 422}} == {}
    wrong = {
        case.name: told[case.name][1]["message"]
        for case in REFUSED
        if case.server_words not in told[case.name][1]["message"]
    }
    assert wrong == {}


def test_server_accepts_what_the_laptop_accepts(server: Client) -> None:
    told = {name: create(server, manifest(changes)) for name, changes in ACCEPTED.items()}
    assert {name: answer.get("message") for name, (status, answer) in told.items() if status != 201} == {}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_server_stores_resolves_to_the_same_run(server: Client, name: str) -> None:
    """No default that the server writes in may change what a preset decides."""
    document = manifest(ACCEPTED[name])
    status, stored = create(server, document)
    assert status == 201
    here = resolve(ASRFinetune.model_validate(document), base="/m")
    there = resolve(ASRFinetune.model_validate(stored, by_alias=True, by_name=False), base="/m")
    assert there.model_copy(update={"decisions": []}) == here.model_copy(update={"decisions": []})


def test_output_cannot_be_changed(server: Client) -> None:
    document = manifest()
    document["metadata"]["name"] = "fixed"
    status, stored = create(server, document, keep=True)
    assert status == 201
    stored["spec"]["seed"] = 5
    status, stored = server.request("PUT", f"{FINETUNES}/fixed{STRICT}", stored)
    assert (status, stored["spec"]["seed"]) == (200, 5)
    stored["spec"]["output"]["uri"] = "elsewhere"
    status, answer = server.request("PUT", f"{FINETUNES}/fixed{STRICT}", stored)
    assert status == 422
    assert "output is immutable" in answer["message"]
    assert "create a new ASRFinetune instead" in answer["message"]


def test_status_is_written_apart_and_shown(server: Client) -> None:
    document = manifest()
    document["metadata"]["name"] = "shown"
    status, stored = create(server, document, keep=True)
    assert status == 201
    observed = FinetuneStatus.model_validate(
        {
            "observedGeneration": 1,
            "phase": "Running",
            "stage": "train",
            "conditions": [
                {
                    "type": "Running",
                    "status": "True",
                    "reason": "GangRunning",
                    "lastTransitionTime": "2026-11-21T10:00:00Z",
                }
            ],
            "stages": [{"name": "train", "type": "Train", "state": "Running", "metrics": {"loss": "1.25"}}],
            "progress": {"percent": 43, "etaSeconds": 4320, "eta": "1h12m"},
            "bestCer": {"percent": "36.4", "low": "34.1", "high": "38.8", "set": "phone"},
            "usage": {
                "gpuSeconds": 100,
                "lostGpuSeconds": 5,
                "lost": [{"reason": "Preempted", "gpuSeconds": 5}],
            },
        }
    )
    stored["status"] = observed.model_dump(mode="json", exclude_none=True)
    status, answer = server.request("PUT", f"{FINETUNES}/shown/status{STRICT}", stored)
    assert status == 200, answer["message"]
    assert FinetuneStatus.model_validate(answer["status"]) == observed
    table = server.request("GET", f"{FINETUNES}/shown")[1]
    assert table["status"]["progress"]["eta"] == "1h12m"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpuPricePerHour": "-1"}, "must be at least 0"),
        (
            {"pod": {"tolerations": [{"operator": "Exists", "value": "x"}]}},
            "value belongs to the operator Equal",
        ),
        ({"telemetry": {"port": 70000}}, "less than or equal to 65535"),
        ({}, ""),
    ],
)
def test_cluster_runtime(server: Client, change: dict[str, Any], words: str) -> None:
    document = {
        "apiVersion": "asrtune.dev/v1alpha1",
        "kind": "ClusterASRRuntime",
        "metadata": {"name": "gpus"},
        "spec": {"image": "registry.example/asrtune:1", "trustRemoteCode": True} | change,
    }
    path = f"/apis/asrtune.dev/v1alpha1/clusterasrruntimes{STRICT}&dryRun=All"
    status, answer = server.request("POST", path, document)
    assert status == (422 if words else 201)
    assert words in answer.get("message", "")
