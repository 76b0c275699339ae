"""The operator as a process, with the rights that we ship, on a real control plane with fake nodes."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.operator import ROOT, Operator
from cluster.waiting import wait_for
from tools.gangs import CHAIN, S3
from tools.manifests import chain, manifest

SHORT = CHAIN[:2]  # CPU pods, then a gang


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of its own: what another module's operator would do here is nobody's business."""
    with run_cluster(tmp_path_factory.mktemp("operator")) as cluster:
        cluster.api.apply(runtime({"fake/run-for": "0.3s"}))
        yield cluster


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Operator:
    found = Operator(
        cluster, options=["--discovery-seconds", "1", "--progress-seconds", "0.5", "--status-seconds", "3"]
    )
    found.start()
    return found


def runtime(annotations: dict[str, str], name: str = "default") -> Json:
    return {
        "apiVersion": "asrtune.dev/v1alpha1",
        "kind": "ClusterASRRuntime",
        "metadata": {"name": name},
        "spec": {"pod": {"annotations": annotations}, "gpuPricePerHour": "2"},
    }


def finetune(namespace: str, name: str = "demo", **changes: Any) -> Json:
    spec = {key.replace("__", "."): value for key, value in changes.items()}
    document = manifest(chain(stages=SHORT) | S3 | spec)
    document["metadata"] = {"name": name, "namespace": namespace}
    return document


def condition(run: Json, kind: str) -> Json:
    return next((one for one in run.get("status", {}).get("conditions", []) if one["type"] == kind), {})


def told(cluster: Cluster, namespace: str, name: str = "demo") -> list[tuple[str, str]]:
    """Reason and message of each event."""
    return [(one["reason"], one["message"]) for one in cluster.api.events(name, namespace)]


def phase(wanted: str) -> Any:
    return lambda run: run.get("status", {}).get("phase") == wanted


def test_apply_and_it_happens_and_deletion_leaves_nothing(
    cluster: Cluster, operator: Operator, namespace: str
) -> None:
    cluster.api.create(finetune(namespace, stages=CHAIN))
    run = cluster.api.wait("asrfinetunes", "demo", phase("Succeeded"), namespace, timeout=60)
    assert [(one["name"], one["state"], one["attempts"]) for one in run["status"]["stages"]] == [
        (stage["name"], "Succeeded", 1) for stage in CHAIN
    ]
    assert condition(run, "Complete")["status"] == "True"
    wait_for(lambda: ("Complete", "All stages are done.") in told(cluster, namespace), what="the last event")
    said = told(cluster, namespace)
    assert len(said) == len(set(said))
    assert len(said) in range(
        9, 14
    )  # made and done, and runs if it was seen to: of each stage; and of the run
    cluster.api.delete("asrfinetunes", "demo", namespace)
    for kind in ("jobs", "configmaps", "pods"):
        wait_for(
            lambda kind=kind: not cluster.api.list(kind, namespace, labels="asrtune.dev/run"),
            what=f"the end of all {kind}",
            timeout=90,  # the garbage collector looks for new CRDs every 30 s only
        )
    assert operator.get("/healthz")[0] == 200
    wait_for(
        lambda: f'namespace="{namespace}"' not in operator.get("/metrics")[1], what="the end of the series"
    )


def test_a_wrong_spec_fails_with_what_is_wrong(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.api.create(finetune(namespace, output__uri="runs/here"))
    run = cluster.api.wait("asrfinetunes", "demo", phase("Failed"), namespace)
    failed = condition(run, "Failed")
    assert failed["reason"] == "SpecInvalid"
    assert "spec.output.uri" in failed["message"]
    assert cluster.api.list("jobs", namespace) == []


def test_a_quota_is_told_and_its_end_is_noticed(cluster: Cluster, operator: Operator, namespace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": namespace},
    }
    cluster.api.create({**quota, "spec": {"hard": {"count/jobs.batch": "0"}}})
    cluster.api.wait("resourcequotas", "none", lambda one: one.get("status", {}).get("hard"), namespace)
    cluster.api.create(finetune(namespace))
    run = cluster.api.wait("asrfinetunes", "demo", lambda one: condition(one, "Running"), namespace)
    assert condition(run, "Running")["reason"] == "ResourceQuotaExceeded"
    assert "exceeded quota: none" in condition(run, "Running")["message"]
    assert run["status"]["stages"][0]["attempts"] == 0
    cluster.api.delete("resourcequotas", "none", namespace)
    run = cluster.api.wait("asrfinetunes", "demo", phase("Succeeded"), namespace, timeout=60)
    assert run["status"]["stages"][0]["attempts"] == 1


def test_a_backend_that_comes_later_is_noticed(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.api.create(finetune(namespace, execution__backend="JobSet"))
    run = cluster.api.wait(
        "asrfinetunes", "demo", lambda one: condition(one, "Running").get("reason"), namespace
    )
    assert condition(run, "Running")["reason"] == "BackendUnavailable"
    cluster.controllers.start("jobset")
    run = cluster.api.wait("asrfinetunes", "demo", phase("Succeeded"), namespace, timeout=90)
    assert {one["stage"]: one["backend"] for one in run["status"]["attempts"]}["train"] == "JobSet"


def test_a_runtime_that_comes_later_is_noticed(cluster: Cluster, operator: Operator, namespace: str) -> None:
    cluster.api.create(finetune(namespace, runtimeRef={"name": namespace}))
    run = cluster.api.wait("asrfinetunes", "demo", lambda one: condition(one, "Running"), namespace)
    assert condition(run, "Running")["reason"] == "RuntimeNotFound"
    cluster.api.apply(runtime({"fake/run-for": "0.3s"}, namespace))
    cluster.api.wait("asrfinetunes", "demo", phase("Succeeded"), namespace, timeout=60)


@contextmanager
def serving(address: str, document: dict[str, Any], port: int = 9400) -> Iterator[None]:
    """Rank 0's /progress at the address of a fake pod."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not a word."""

    server = http.server.ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def test_progress_is_read_and_written_at_a_bounded_rate(
    cluster: Cluster, operator: Operator, namespace: str
) -> None:
    cluster.api.apply(runtime({"fake/run-for": "600s"}, namespace))
    cluster.api.create(
        finetune(namespace, runtimeRef={"name": namespace}, startAt="train", resources={"gpusPerNode": 1})
    )

    def running() -> Json | None:
        pods = cluster.api.list("pods", namespace)
        return next((one for one in pods if one["status"].get("podIP")), None)

    pod = wait_for(running, what="the training pod")
    document = {"run": "demo", "stage": "train", "stage_state": "running", "step": 1, "last_loss": 1.5}
    with serving(pod["status"]["podIP"], document):
        cluster.api.wait(
            "asrfinetunes",
            "demo",
            lambda one: one.get("status", {}).get("progress", {}).get("step") == 1,
            namespace,
            timeout=40,
        )
        versions = set()
        ends = time.monotonic() + 9
        while time.monotonic() < ends:
            document["step"] += 1
            versions.add(cluster.api.get("asrfinetunes", "demo", namespace)["metadata"]["resourceVersion"])
            time.sleep(0.25)
        assert 2 <= len(versions) <= 5  # every three seconds, though it changes all the time
        run = cluster.api.get("asrfinetunes", "demo", namespace)
        assert run["status"]["progress"]["step"] > 10
        assert float(run["status"]["progress"]["loss"]) == 1.5
    assert (
        f'asrtune_run_loss{{kind="ASRFinetune",name="demo",namespace="{namespace}"}} 1.5'
        in operator.get("/metrics")[1]
    )


def test_killed_in_the_middle_it_goes_on_and_makes_nothing_twice(
    cluster: Cluster, operator: Operator, namespace: str
) -> None:
    names = [f"run-{number}" for number in range(8)]
    for name in names:
        cluster.api.create(finetune(namespace, name))
    process = cluster.processes[operator.name]
    for _ in range(4):
        time.sleep(1.5)
        process.kill()
        process.start()
        wait_for(lambda: operator.leading, what="the operator")
    for name in names:
        run = cluster.api.wait("asrfinetunes", name, phase("Succeeded"), namespace, timeout=90)
        assert [one["attempts"] for one in run["status"]["stages"]] == [1, 1]
        said = told(cluster, namespace, name)
        assert len(said) == len(set(said))


def test_the_api_server_restarts_under_it(cluster: Cluster, operator: Operator, namespace: str) -> None:
    patient = Operator(cluster, name=operator.name, options=["--lease-seconds", "30"])
    process = patient.start()
    before = process.pid
    cluster.api.create(finetune(namespace))
    cluster.api.wait("asrfinetunes", "demo", lambda one: one.get("status"), namespace)
    cluster.plane.restart("apiserver", kill=True)
    cluster.api.create(finetune(namespace, "after"))
    for name in ("demo", "after"):
        cluster.api.wait("asrfinetunes", name, phase("Succeeded"), namespace, timeout=90)
    assert process.alive
    assert process.pid == before
    operator.start()


def test_a_second_replica_waits_and_takes_over(cluster: Cluster, operator: Operator, namespace: str) -> None:
    second = Operator(cluster, name="second")
    second.kubeconfig = operator.kubeconfig
    process = cluster.processes.start(second.name, second.command, {})
    try:
        wait_for(lambda: second.get("/readyz")[0] == 200, what="the second replica")
        assert not second.leading
        cluster.processes[operator.name].kill()
        wait_for(lambda: second.leading, what="the second replica's turn", timeout=20)
        cluster.api.create(finetune(namespace))
        cluster.api.wait("asrfinetunes", "demo", phase("Succeeded"), namespace, timeout=60)
    finally:
        process.stop()
        operator.start()


def test_with_the_rights_of_one_namespace(cluster: Cluster, operator: Operator, namespace: str) -> None:
    elsewhere = cluster.new_namespace("elsewhere")
    text = (ROOT / "operator/rbac/namespaced.yaml").read_text()
    cluster.api.apply(yaml.safe_load_all(text.replace("namespace: asr\n", f"namespace: {namespace}\n")))
    cluster.processes[operator.name].stop()
    own = Operator(
        cluster, name="namespaced", options=["--namespace", namespace, "--lease-namespace", namespace]
    )
    own.kubeconfig = cluster.plane.as_service_account(namespace, "asrtune-operator")
    process = own.start()
    try:
        platform = {**runtime({"fake/run-for": "0.3s"}, "own"), "kind": "ASRRuntime"}
        platform["metadata"]["namespace"] = namespace
        cluster.api.apply(platform)
        cluster.api.create(finetune(elsewhere))
        cluster.api.create(finetune(namespace, runtimeRef={"name": "own", "kind": "ASRRuntime"}))
        cluster.api.create(finetune(namespace, "shared", runtimeRef={"name": "default"}))
        cluster.api.wait("asrfinetunes", "demo", phase("Succeeded"), namespace, timeout=60)
        run = cluster.api.wait("asrfinetunes", "shared", lambda one: condition(one, "Running"), namespace)
        assert condition(run, "Running")["reason"] == "RuntimeNotFound"
        assert "status" not in cluster.api.get("asrfinetunes", "demo", elsewhere)
        assert own.get("/healthz")[0] == 200
    finally:
        process.stop()
        operator.start()


def test_it_ends_at_once_when_told_and_leaves_the_lease(cluster: Cluster, operator: Operator) -> None:
    process = cluster.processes[operator.name]
    started = time.monotonic()
    process.stop(grace=20)
    assert time.monotonic() - started < 5
    lease = cluster.api.get("leases", "asrtune-operator", "asrtune-system")
    assert lease["spec"]["holderIdentity"] == ""
    operator.start()
