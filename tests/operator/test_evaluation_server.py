"""ASREvaluation in a real kube-apiserver: what it takes, what it refuses, and in which words."""

from typing import Any

import pytest

from asrtune_api.evaluation import ASREvaluation, EvaluationStatus
from asrtune_api.finetune import ASRFinetune
from asrtune_api.resolve_evaluation import resolve_evaluation
from cluster.client import Client
from cluster.cluster import Cluster
from tools.evaluations import ACCEPTED, REFUSED, evaluation
from tools.manifests import manifest

EVALUATIONS = "/apis/asrtune.dev/v1alpha1/namespaces/default/asrevaluations"
STRICT = "?fieldValidation=Strict"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Client:
    return cluster.api


def create(server: Client, document: dict[str, Any], *, keep: bool = False) -> tuple[int, Any]:
    return server.request("POST", f"{EVALUATIONS}{STRICT}{'' if keep else '&dryRun=All'}", document)


def test_server_refuses_what_the_laptop_refuses(server: Client) -> None:
    told = {case.name: create(server, evaluation(case.changes)) for case in REFUSED}
    assert {name: answer for name, (status, answer) in told.items() if status not in {400, 422}} == {}
    wrong = {
        case.name: told[case.name][1]["message"]
        for case in REFUSED
        if case.server_words not in told[case.name][1]["message"]
    }
    assert wrong == {}


def finetune() -> ASRFinetune:
    """A finetune that has published its model."""
    document = manifest(
        {"output.uri": "s3://bucket/demo", "data.test": [{"name": "known-there", "uri": "/t"}]}
    )
    stages = [{"name": "publish", "type": "Publish", "state": "Succeeded"}]
    return ASRFinetune.model_validate({**document, "status": {"stages": stages}})


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_server_stores_resolves_to_the_same_run(server: Client, name: str) -> None:
    document = evaluation(ACCEPTED[name])
    status, stored = create(server, document)
    assert status == 201, stored.get("message")
    finetunes = {"demo": finetune(), "demo.v2": finetune()}
    here, there = (
        resolve_evaluation(
            ASREvaluation.model_validate(one, by_alias=True, by_name=False), None, finetunes, base="/m"
        )
        for one in (document, stored)
    )
    assert there.model_copy(update={"decisions": []}) == here.model_copy(update={"decisions": []})


def test_output_cannot_be_changed(server: Client) -> None:
    document = evaluation()
    document["metadata"]["name"] = "fixed"
    status, stored = create(server, document, keep=True)
    assert status == 201
    stored["spec"]["output"]["uri"] = "elsewhere"
    status, answer = server.request("PUT", f"{EVALUATIONS}/fixed{STRICT}", stored)
    assert status == 422
    assert "output is immutable" in answer["message"]
    assert "create a new ASREvaluation instead" in answer["message"]


def test_status_is_written_apart_and_shown(server: Client) -> None:
    document = evaluation()
    document["metadata"]["name"] = "shown"
    status, stored = create(server, document, keep=True)
    assert status == 201
    rates = {"cer": "8.2", "low": "7.9", "high": "8.5", "utterances": 412}
    paired = {"difference": "-3.8", "differenceLow": "-4.6", "differenceHigh": "-2.9"}
    observed = EvaluationStatus.model_validate(
        {
            "phase": "Succeeded",
            "conditions": [
                {
                    "type": "QualityGatePassed",
                    "status": "False",
                    "reason": "AboveMaximum",
                    "lastTransitionTime": "2026-11-21T10:00:00Z",
                }
            ],
            "best": {"model": "tuned", "percent": "8.2", "low": "7.9", "high": "8.5", "set": "calls"},
            "results": [
                {"set": "calls", "model": "base", "baseline": True, **rates},
                {"set": "calls", "model": "tuned", **rates, **paired},
            ],
        }
    )
    stored["status"] = observed.model_dump(mode="json", exclude_none=True)
    status, answer = server.request("PUT", f"{EVALUATIONS}/shown/status{STRICT}", stored)
    assert status == 200, answer["message"]
    assert EvaluationStatus.model_validate(answer["status"]) == observed
    _, table = server.request("GET", f"{EVALUATIONS}/shown", accept=TABLE)
    shown = dict(
        zip((one["name"] for one in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True)
    )
    assert [shown[name] for name in ("Phase", "Baseline", "Best", "CER", "Gate")] == [
        "Succeeded",
        "base",
        "tuned",
        "8.2",
        "False",
    ]
