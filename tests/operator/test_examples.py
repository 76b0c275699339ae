"""examples/manifests on a real API server with Kueue: taken as they are, and run on fake nodes as they want them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from asrtune_api.errors import NotReadyError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.finetune import ASRFinetune
from asrtune_api.resolve import resolve
from asrtune_api.resolve_evaluation import resolve_evaluation
from asrtune_api.runtime import ASRRuntime
from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.operator import ROOT, Operator
from cluster.waiting import wait_for
from tools.plugin import Plugin

EXAMPLES = ROOT / "examples"
NAMESPACE = "speech"
MANIFESTS = sorted((EXAMPLES / "manifests").glob("*.yaml"))
FINETUNES = [*MANIFESTS, EXAMPLES / "evaluation.yaml"]
HANDED_OUT = {"run-for": "300ms"}
"""How a fake pod ends, which no example says."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of its own, with nodes such as the examples ask for, Kueue, JobSet and the namespace."""
    with run_cluster(tmp_path_factory.mktemp("examples"), nodes=1) as cluster:
        cluster.api.create(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": NAMESPACE,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            }
        )
        cluster.controllers.start("jobset", "kueue")
        cluster.kwok.add_nodes(2, labels={"pool": "h200"})
        spot = "cloud.google.com/gke-spot"
        cluster.kwok.add_nodes(
            1, labels={spot: "true"}, taints=[{"key": spot, "value": "true", "effect": "NoSchedule"}]
        )
        for name in cluster.kwok.add_nodes(2, labels={"topology.kubernetes.io/zone": "a", "rdma": "yes"}):
            more = {"rdma/hca": "1"}
            cluster.api.patch_status("nodes", name, {"capacity": more, "allocatable": more})
        yield cluster


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Operator:
    cluster.api.apply(
        {
            "apiVersion": "asrtune.dev/v1alpha1",
            "kind": "ClusterASRRuntime",
            "metadata": {"name": "default"},
            "spec": {"pod": {"annotations": ending()}},
        }
    )
    found = Operator(cluster, options=["--discovery-seconds", "2"])
    found.start()
    return found


def ending() -> dict[str, str]:
    return {f"fake/{key}": value for key, value in HANDED_OUT.items()}


def documents(file: Path) -> list[Json]:
    return [one for one in yaml.safe_load_all(file.read_text()) if one]


@pytest.mark.parametrize("file", FINETUNES, ids=lambda file: file.stem)
def test_the_api_server_takes_it(cluster: Cluster, file: Path) -> None:
    said = cluster.plane.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", NAMESPACE, "-f", str(file))
    )
    assert said.count("serverside-applied (server dry run)") == len(documents(file))


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_it_resolves_and_renders(file: Path) -> None:
    found = documents(file)
    runtimes = {
        one["metadata"]["name"]: ASRRuntime.model_validate(one, by_alias=True, by_name=False)
        for one in found
        if one["kind"] == "ASRRuntime"
    }
    finetunes = {
        one["metadata"]["name"]: ASRFinetune.model_validate(one, by_alias=True, by_name=False)
        for one in found
        if one["kind"] == "ASRFinetune"
    }
    assert finetunes
    for finetune in finetunes.values():
        ref = finetune.spec.runtime_ref
        run = resolve(finetune, runtimes[ref.name] if ref else None, base=None)
        assert [stage.type.value for stage in run.stages][-1] == "Publish"
    done = Plugin.run("render", str(file), "-n", NAMESPACE)
    assert done.exit_code == 0, done.stderr
    assert {one["kind"] for one in yaml.safe_load_all(done.stdout)} >= {"ConfigMap", "Job"}
    assert ("It is not rendered." in done.stderr) == (file.stem == "evaluation-gate")


def test_the_evaluation_waits_for_its_finetune() -> None:
    """It names what does not exist before the finetune has published; then it resolves."""
    found = documents(EXAMPLES / "manifests/evaluation-gate.yaml")
    stages = [
        {"name": name, "type": name.capitalize(), "state": "Succeeded"} for name in ("train", "publish")
    ]
    finetune = ASRFinetune.model_validate(
        {**found[0], "status": {"stages": stages}}, by_alias=True, by_name=False
    )
    evaluation = ASREvaluation.model_validate(found[1], by_alias=True, by_name=False)
    with pytest.raises(NotReadyError):
        resolve_evaluation(evaluation, None, {}, base=None)
    run = resolve_evaluation(evaluation, None, {"calls-gated": finetune}, base=None)
    assert run.comparison is not None
    assert [one.name for one in run.comparison.candidates] == ["base", "published", "best-checkpoint"]


def started(cluster: Cluster, file: str) -> str:
    """Applies an example whose fake pods end, and returns the finetune's name."""
    name = ""
    for document in documents(EXAMPLES / "manifests" / file):
        one = copy.deepcopy(document)
        if one["kind"] == "ASRRuntime":
            one["spec"].setdefault("pod", {})["annotations"] = ending()
        if one["kind"] == "ASRFinetune":
            name = one["metadata"]["name"]
        cluster.api.apply(one)
    return name


def placed(cluster: Cluster, name: str) -> list[Json]:
    """The pods that trained, when the run is done."""

    def phase() -> str:
        return str(cluster.api.get("asrfinetunes", name, NAMESPACE).get("status", {}).get("phase"))

    def seen() -> object:
        return cluster.api.get("asrfinetunes", name, NAMESPACE).get("status")

    wait_for(lambda: phase() in {"Succeeded", "Failed"}, timeout=180, what=f"the end of {name}", state=seen)
    assert phase() == "Succeeded", seen()
    return cluster.api.list("pods", NAMESPACE, labels=f"asrtune.dev/run={name},asrtune.dev/stage=train")


def labels_of(cluster: Cluster, pods: list[Json]) -> list[Json]:
    return [cluster.api.get("nodes", pod["spec"]["nodeName"])["metadata"]["labels"] for pod in pods]


def test_minimal_runs(cluster: Cluster, operator: Operator) -> None:
    assert len((EXAMPLES / "manifests/minimal.yaml").read_text().splitlines()) <= 15
    assert len(placed(cluster, started(cluster, "minimal.yaml"))) == 1


def test_multi_node_runs_in_one_zone_with_its_network(cluster: Cluster, operator: Operator) -> None:
    pods = placed(cluster, started(cluster, "multi-node.yaml"))
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    assert [labels["rdma"] for labels in labels_of(cluster, pods)] == ["yes", "yes"]
    env = {one["name"]: one.get("value") for one in pods[0]["spec"]["containers"][0]["env"]}
    assert env["NCCL_NET"] == "IB"


def test_kueue_admits_and_places_it(cluster: Cluster, operator: Operator) -> None:
    name = started(cluster, "kueue.yaml")
    pods = placed(cluster, name)
    assert [labels["pool"] for labels in labels_of(cluster, pods)] == ["h200", "h200"]
    workloads = cluster.api.list("workloads", NAMESPACE)
    assert {one["spec"]["queueName"] for one in workloads} == {"training"}


def test_spot_runs_on_spot_nodes(cluster: Cluster, operator: Operator) -> None:
    [pod] = placed(cluster, started(cluster, "spot.yaml"))
    assert [labels["cloud.google.com/gke-spot"] for labels in labels_of(cluster, [pod])] == ["true"]
    assert pod["spec"]["priority"] == 1000
    assert pod["spec"]["terminationGracePeriodSeconds"] <= 35


def test_air_gapped_pods_have_the_volume_and_the_mirror() -> None:
    done = Plugin.run(
        "render", str(EXAMPLES / "manifests/air-gapped.yaml"), "-n", NAMESPACE, "--stage", "train"
    )
    [job] = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] == "Job"]
    spec = job["spec"]["template"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "mirror"}]
    assert spec["containers"][0]["image"] == "mirror.registry.example/asrtune-trainer:0.1.0"
    [volume] = [one for one in spec["volumes"] if "persistentVolumeClaim" in one]
    mounts = {one["mountPath"]: one["name"] for one in spec["containers"][0]["volumeMounts"]}
    assert mounts["/data"] == volume["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == "speech-data"
