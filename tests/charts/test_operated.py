"""The operator that the chart starts does its work, and what it leaves when it goes holds nobody up."""

from __future__ import annotations

import re
from importlib.metadata import version

from cluster.client import Client
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.charted import (
    BRIEF,
    DEPLOYMENT,
    ChartedOperator,
    everything,
    finetune,
    install,
    pods_of,
    reachable,
    uninstall,
)
from tools.helm import CHART, SYSTEM, Helm
from tools.operated import Runs


def test_the_operator_of_the_chart_completes_a_run(
    cluster: Cluster, operator: ChartedOperator, namespace: str
) -> None:
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


def test_runs_outlive_the_operator_and_can_be_deleted_without_it(
    cluster: Cluster, on: Helm, operator: ChartedOperator, namespace: str
) -> None:
    runs = Runs(cluster, namespace)
    runs.describe_pods({"fake/run-for": "1h"})
    runs.start("going", {})
    cluster.api.create(finetune(namespace, "done"))
    runs.wait_end("done")
    runs.wait_running("going", "prepare")
    cluster.processes[operator.name].stop()  # as the kubelet does when the Deployment goes
    uninstall(on)
    assert cluster.api.find("leases", DEPLOYMENT, SYSTEM) is None
    wait_for(lambda: not pods_of(cluster), what="the end of the operator's pods")
    # Nothing happened to the runs.
    assert runs.get("going")["status"]["phase"] == "Running"
    assert runs.pods("going", "prepare")
    # And nothing holds them.
    for name in ("going", "done"):
        cluster.api.delete("asrfinetunes", name, namespace)
        cluster.api.wait_until_gone("asrfinetunes", name, namespace)
        runs.wait_nothing_left(name)
    assert ours(cluster) == of_the_kinds()


def ours(cluster: Cluster) -> set[str]:
    """What has our name, but for Helm's notes of the kinds' release."""
    found = {one for one in everything(cluster) if "asrtune" in one.partition("/")[2]}
    return {one for one in found if "/sh.helm.release.v1.asrtune-crds." not in one}


def of_the_kinds() -> set[str]:
    """What stays: the kinds, the roles of people, and the namespace that Helm made."""
    plurals = ("asrfinetunes", "asrevaluations", "asrruntimes", "clusterasrruntimes")
    roles = ("asrtune-view", "asrtune-edit", "asrtune-admin", "asrtune-runtime-view")
    return {
        *(f"CustomResourceDefinition /{one}.asrtune.dev" for one in plurals),
        "APIService /v1alpha1.asrtune.dev",
        *(f"ClusterRole /{one}" for one in roles),
        f"Namespace /{SYSTEM}",
    }


def test_a_namespaced_operator_serves_its_namespaces_alone(
    cluster: Cluster, on: Helm, namespace: str
) -> None:
    own = ["--set", f"namespaces={{{namespace}}}", "--set", "lease.name=own", "--set", "replicas=1"]
    install(on, *reachable(), *own, *BRIEF, namespace=namespace)
    elsewhere = cluster.new_namespace("elsewhere")
    operator = ChartedOperator(cluster, namespace)
    process = operator.start()
    try:
        for one in (elsewhere, namespace):
            document = finetune(one, runtimeRef={"kind": "ASRRuntime", "name": "default"})
            cluster.api.create(document)
        assert Runs(cluster, namespace).wait_end("demo").phase == "Succeeded"
        assert "status" not in cluster.api.get("asrfinetunes", "demo", elsewhere)
        account = Client(cluster.plane.service_account(namespace, DEPLOYMENT))
        for path in ("/api/v1/nodes", f"/apis/batch/v1/namespaces/{elsewhere}/jobs"):
            assert account.request("GET", path)[0] == 403
    finally:
        process.stop()
        uninstall(on, namespace)
    assert cluster.api.find("leases", "own", namespace) is None
    cluster.api.delete("asrfinetunes", "demo", elsewhere)
