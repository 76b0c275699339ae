"""The telephone demo on a cluster as anybody installs it, by what its users look at: kubectl, the bucket, Grafana."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tools.accepted import NAME, Accepted
from tools.boards import BOARDS, LASTS, filled, panels
from tools.helm import SYSTEM
from tools.stock_probe import Job, probe
from tools.telephone import BUCKET, DEMO, OUTPUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]
STAGES: Final = ("prepare", "simulate", "train", "average", "evaluate", "export", "publish")
NO_GPU: Final = "the gang trains on processors"
EMPTY: Final = {
    "Accuracy": "the demo's model has CTC alone, which knows no accuracy",
    "GPU utilisation": NO_GPU,
    "GPU time": NO_GPU,
    "Lost GPU time": NO_GPU,
    "Cost": NO_GPU,
    "GPU time held and lost": NO_GPU,
    "Lost GPU time by reason": NO_GPU,
}
"""Panels that have no data of this run, and why."""
PANELS: Final = [pytest.param(one, id=one["title"]) for one in panels("run")]
LASTING: Final = [
    pytest.param(one, id=one["title"])
    for one in panels("run")
    if one["description"].endswith(LASTS) and one["title"] not in EMPTY
]


def test_it_completes_at_the_first_attempt(accepted: Accepted) -> None:
    assert accepted.condition("Complete")["status"] == "True"
    stages = accepted.status["stages"]
    assert [(one["name"], one["state"], one["attempts"]) for one in stages] == [
        (name, "Succeeded", 1) for name in STAGES
    ]


def test_the_gang_had_two_nodes(accepted: Accepted) -> None:
    assert {pod["spec"]["nodeName"] for pod in accepted.gang} == {"node1", "node2"}
    assert len(accepted.gang) == 2


def test_kubectl_shows_its_error_rate(accepted: Accepted) -> None:
    assert accepted.columns["PHASE"] == "Succeeded"
    assert float(accepted.columns["CER"]) == float(accepted.status["bestCer"]["percent"])
    assert accepted.status["bestCer"]["set"] == "telephone"


def test_the_plugin_in_a_pod_is_its_service_account(accepted: Accepted) -> None:
    asked = ("kubectl-asrtune", "status", NAME, "-n", accepted.namespace)
    said = accepted.cluster.plane.kubectl("exec", "deployment/asrtune-operator", "-n", SYSTEM, "--", *asked)
    assert NAME in said
    assert "Succeeded" in said


def test_the_operator_has_watched_and_never_stumbled(accepted: Accepted) -> None:
    events = "asrtune_operator_watch_events_total"
    (heard,) = accepted.prometheus.at(f'sum({events}{{resource="asrfinetunes"}})', accepted.ended)
    assert heard.points[-1][1] > 1
    kubectl = accepted.cluster.plane.kubectl
    said = kubectl("logs", "--selector", "app.kubernetes.io/name=asrtune", "-n", SYSTEM, "--tail", "-1")
    assert "lease is held" in said
    assert "raceback" not in said


def test_it_passes_its_gate(accepted: Accepted) -> None:
    gate = accepted.condition("QualityGatePassed")
    assert (gate["status"], gate["reason"]) == ("True", "Passed"), gate


def test_the_bucket_has_a_model_that_stock_funasr_loads(accepted: Accepted, tmp_path: Path) -> None:
    client = accepted.server.client()
    model = tmp_path / "model"
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{OUTPUT}/model/")["Contents"]
    for key in (one["Key"] for one in listed):
        target = model / key.removeprefix(f"{OUTPUT}/model/")
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(BUCKET, key, str(target))
    call = DEMO / "data/audio/test_telephone/agent-user.wav"
    (text,) = probe([Job("published", str(model), [str(call)], {})], tmp_path)["published"]["texts"]
    print(f"\n{call.name}: {text}")
    assert text.strip()
    assert client.head_object(Bucket=BUCKET, Key=f"{OUTPUT}/report/index.html")["ContentLength"]


def test_the_dashboard_is_installed(accepted: Accepted) -> None:
    (found,) = (
        one["data"]["run.json"]
        for one in accepted.cluster.api.list("configmaps", SYSTEM, labels="grafana_dashboard=1")
        if "run.json" in one["data"]
    )
    assert json.loads(found) == BOARDS["run"]


@pytest.mark.parametrize("panel", PANELS)
def test_the_panel_has_data(panel: dict[str, Any], accepted: Accepted) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        expression = filled(target["expr"], accepted.variables)
        found = accepted.prometheus.between(expression, accepted.begun, accepted.ended)
        assert bool(found) == (panel["title"] not in EMPTY), f"{panel['title']}: {expression}"


@pytest.mark.parametrize("panel", LASTING)
def test_what_lasts_is_there_when_the_pods_are_gone(panel: dict[str, Any], accepted: Accepted) -> None:
    asked = [filled(one["expr"], accepted.variables) for one in panel["targets"]]
    assert any(accepted.prometheus.at(one, accepted.ended) for one in asked), panel["title"]


def test_a_run_without_trouble_raises_no_alert(accepted: Accepted) -> None:
    (rule,) = accepted.cluster.api.list("prometheusrules", SYSTEM)
    alerts = {one["alert"]: one["expr"] for group in rule["spec"]["groups"] for one in group["rules"]}
    raised = [name for name, expr in alerts.items() if accepted.prometheus.at(expr, accepted.ended)]
    assert raised == []
    assert len(alerts) > 10
