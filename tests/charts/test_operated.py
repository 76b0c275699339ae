"""The operator that the chart starts does its work, its alerts are raised, and without it nothing is held up."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from cluster.client import Client
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.charted import BRIEF, DEPLOYMENT, ChartedOperator, finetune, install, pods_of, reachable, uninstall
from tools.helm import CHART, SYSTEM, Helm, of_kind, values
from tools.operated import PATIENCE, Runs
from tools.prometheus import Prometheus, service_of


@pytest.fixture(scope="module")
def operator(cluster: Cluster, on: Helm) -> Iterator[ChartedOperator]:
    """The first pod of a release as a process; its runs are quick."""
    install(on, *reachable(), *BRIEF)
    operator = ChartedOperator(cluster)
    operator.start()
    yield operator
    cluster.processes[operator.name].stop()
    uninstall(on)


def test_it_completes_a_run(cluster: Cluster, operator: ChartedOperator, namespace: str) -> None:
    cluster.api.create(finetune(namespace))
    end = Runs(cluster, namespace).wait_end("demo")
    assert (end.phase, [one[1:3] for one in end.stages]) == ("Succeeded", [("Succeeded", 1)] * 2)
    pods = cluster.api.list("pods", namespace, labels="asrtune.dev/run=demo")
    assert pods
    images = {container["image"] for pod in pods for container in pod["spec"]["containers"]}
    assert images == {f"registry.example/asrtune-trainer:{version('asrtune')}"}
    assert operator.get("/healthz")[0] == 200
    lease = cluster.api.get("leases", DEPLOYMENT, SYSTEM)
    assert lease["spec"]["holderIdentity"] in {one["metadata"]["name"] for one in pods_of(cluster)}
    check_series(operator.get("/metrics")[1])
    cluster.api.delete("asrfinetunes", "demo", namespace)


def check_series(text: str) -> None:
    """Every series of the operator that an alert asks for is served, with the labels by which it asks."""
    families = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    samples = dict(re.findall(r"^(\w+){(.*)} ", text, re.MULTILINE))
    asked = re.findall(
        r"(asrtune_(?:run|operator)_\w+)(?:{(.*?)})?", (CHART / "files/alerts.yaml").read_text()
    )
    asked = [(name, labels) for name, labels in asked if not name.endswith("_")]  # asrtune_run_* in a comment
    assert len(asked) > 15
    for name, labels in asked:
        assert name.removesuffix("_count") in families, name
        for label in re.findall(r"(\w+)(?:=|!)", labels.replace("@runs@", "").replace("@operator@", "")):
            assert name not in samples or f'{label}="' in samples[name], (name, label)
    assert {"asrtune_run_condition", "asrtune_run_stage_state", "asrtune_run_stage_restarts"} <= set(samples)


@pytest.fixture
def prometheus(
    cluster: Cluster, helm: Helm, operator: ChartedOperator, tmp_path: Path
) -> Iterator[Prometheus]:
    """Scrapes the operator as the ServiceMonitor says; the target's namespace is told, as nothing discovers it here."""
    (monitor,) = of_kind(helm.template(CHART, *values("everything")), "ServiceMonitor")
    scrape = service_of(monitor, f"127.0.0.1:{operator.port}")
    scrape["static_configs"][0]["labels"] = {"namespace": "asrtune-system"}
    yield Prometheus(cluster.processes, tmp_path / "prometheus", [scrape])
    cluster.processes["prometheus"].stop()


@pytest.fixture(scope="module")
def expressions(helm: Helm) -> Mapping[str, str]:
    (rule,) = of_kind(helm.template(CHART, "--set", "monitoring.rules.enabled=true"), "PrometheusRule")
    return {one["alert"]: one["expr"] for group in rule["spec"]["groups"] for one in group["rules"]}


def test_what_happens_raises_its_own_alert_and_no_other(
    cluster: Cluster,
    operator: ChartedOperator,
    prometheus: Prometheus,
    expressions: Mapping[str, str],
    namespace: str,
) -> None:
    runs = Runs(cluster, namespace)

    def raised() -> set[tuple[str, str]]:
        """Alerts whose expression holds now, each with the run it is about."""
        found: Mapping[str, Any] = {
            alert: prometheus.at(text, time.time()) for alert, text in expressions.items()
        }
        return {(alert, one.labels.get("name", "")) for alert, many in found.items() for one in many}

    def waits_for(expected: set[tuple[str, str]]) -> None:
        wait_for(lambda: raised() == expected, timeout=PATIENCE, what=f"{expected}", state=raised, every=0.5)

    waits_for(set())
    for name, code in (("memory", "71"), ("diverged", "76")):
        runs.describe_pods({"fake/run-for": "300ms", "fake/train.exit-code": code}, name)
        runs.start(name, {"runtimeRef": {"name": name, "kind": "ASRRuntime"}})
        runs.wait_end(name)
    runs.describe_pods({"fake/run-for": "300ms"}, "own")
    runs.start("fine", {})
    runs.wait_end("fine")
    runs.start("waits", {"startAt": "train", "resources": {"nodes": 1, "gpusPerNode": 64}})
    happened = {
        ("AsrtuneRunFailed", "memory"),
        ("AsrtuneRunDiverged", "diverged"),
        ("AsrtuneRunWaits", "waits"),
    }
    waits_for(happened)
    cluster.api.delete("asrfinetunes", "waits", namespace)
    waits_for(happened - {("AsrtuneRunWaits", "waits")})
    cluster.processes[operator.name].kill()
    waits_for({("AsrtuneOperatorDown", "")})


def test_without_it_runs_go_on_and_can_be_deleted(cluster: Cluster, on: Helm, namespace: str) -> None:
    """An operator of one namespace, which serves no other; it goes while one run is under way and one is done."""
    own = ["--set", f"namespaces={{{namespace}}}", "--set", "lease.name=own", "--set", "replicas=1"]
    install(on, *reachable(), *own, *BRIEF, namespace=namespace)
    elsewhere = cluster.new_namespace("elsewhere")
    operator = ChartedOperator(cluster, namespace)
    operator.start()
    runs = Runs(cluster, namespace)
    for one in (elsewhere, namespace):
        document = finetune(one, "done", runtimeRef={"kind": "ASRRuntime", "name": "default"})
        cluster.api.create(document)
    runs.describe_pods({"fake/run-for": "1h"}, "long")
    runs.start("going", {"runtimeRef": {"kind": "ASRRuntime", "name": "long"}})
    assert runs.wait_end("done").phase == "Succeeded"
    runs.wait_running("going", "prepare")
    assert "status" not in cluster.api.get("asrfinetunes", "done", elsewhere)
    account = Client(cluster.plane.service_account(namespace, DEPLOYMENT))
    for path in ("/api/v1/nodes", f"/apis/batch/v1/namespaces/{elsewhere}/jobs"):
        assert account.request("GET", path)[0] == 403

    cluster.processes[operator.name].stop()  # as the kubelet does when the Deployment goes
    uninstall(on, namespace)
    assert cluster.api.find("leases", "own", namespace) is None
    wait_for(lambda: not pods_of(cluster, namespace), what="the end of the operator's pods")
    # Nothing happened to the runs, and nothing holds them.
    assert runs.get("going")["status"]["phase"] == "Running"
    assert runs.pods("going", "prepare")
    for name in ("going", "done"):
        cluster.api.delete("asrfinetunes", name, namespace)
        cluster.api.wait_until_gone("asrfinetunes", name, namespace)
        runs.wait_nothing_left(name)
    cluster.api.delete("asrfinetunes", "done", elsewhere)
