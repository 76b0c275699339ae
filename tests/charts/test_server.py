"""The charts on a real API server: every object is taken, releases come, change, go back and go."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from cluster.binaries import MANIFESTS, find
from cluster.client import ApiError, Client, Json
from cluster.cluster import Cluster, run_cluster
from cluster.waiting import wait_for
from tools.charted import BRIEF, DEPLOYMENT, ChartedOperator, pods_of, reachable
from tools.gangs import S3
from tools.helm import CHART, CRDS, SYSTEM, Helm, values
from tools.manifests import chain, manifest
from tools.operated import SHORT, Runs

NAMESPACES = (SYSTEM, "speech", "calls", "monitoring")
PASSING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "endpointslices.discovery.k8s.io"}
"""Kinds whose objects come and go without us; a Lease of ours is asked for by name."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With the namespaces of all values, the CRDs of the Prometheus operator, and ours as kubectl applies them."""
    with run_cluster(tmp_path_factory.mktemp("charts")) as cluster:
        for name in NAMESPACES:
            cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in NAMESPACES:
            cluster.api.wait("serviceaccounts", "default", bool, name)
        manifests = find("prometheus-operator", f"{MANIFESTS}/prometheus-operator.yaml").read_text()
        cluster.install_crds(yaml.load_all(manifests, Loader=yaml.CSafeLoader))
        yield cluster


@pytest.fixture(scope="module")
def on(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm on that cluster."""
    return Helm(tmp_path_factory.mktemp("helm"), cluster.kubeconfig)


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster, on: Helm) -> None:
    """The kinds' own chart, over CRDs that kubectl has applied before."""
    on("install", "asrtune-crds", CRDS, "--namespace", SYSTEM, "--take-ownership", "--wait")


def install(on: Helm, *options: object, namespace: str = SYSTEM, verb: str = "install") -> None:
    words = [str(one) for one in options]
    on(verb, "asrtune", CHART, "--namespace", namespace, "--wait", "--timeout", "60s", *words)


def uninstall(on: Helm, namespace: str = SYSTEM) -> None:
    on("uninstall", "asrtune", "--namespace", namespace, "--wait", "--cascade", "foreground")


@pytest.fixture
def released(on: Helm, cluster: Cluster) -> Iterator[None]:
    """The chart with runs that are quick; gone afterwards."""
    install(on, *reachable(), *BRIEF)
    yield
    if on.run("status", "asrtune", "--namespace", SYSTEM).code == 0:
        uninstall(on)


@pytest.fixture
def operator(cluster: Cluster, released: None) -> Iterator[ChartedOperator]:
    """The first of its pods as a process."""
    operator = ChartedOperator(cluster)
    process = operator.start()
    yield operator
    process.stop()


def deployment(cluster: Cluster) -> Json:
    return cluster.api.get("deployments", DEPLOYMENT, SYSTEM)


def arguments(cluster: Cluster) -> list[str]:
    (container,) = deployment(cluster)["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


def everything(cluster: Cluster) -> set[str]:
    """Kind, namespace and name of every object of the cluster that stays by itself."""
    kubectl = cluster.plane.kubectl
    kinds = set(kubectl("api-resources", "--verbs=list", "--output=name").split()) - PASSING
    listed = kubectl("get", ",".join(sorted(kinds)), "--all-namespaces", "--output=json")
    return {
        f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
        for one in json.loads(listed)["items"]
    }


def of_releases(objects: set[str]) -> set[str]:
    return {one for one in objects if "asrtune" in one}


@pytest.mark.parametrize("variant", ["default", "namespaced", "everything"])
def test_the_api_server_takes_every_object(cluster: Cluster, on: Helm, variant: str) -> None:
    documents = on.template(CHART, *values(variant)) + on.template(CRDS)
    for document in documents:
        own = {**document, "metadata": {**document["metadata"]}}
        if cluster.api.find(
            f"{own['apiVersion']}/{own['kind']}",
            own["metadata"]["name"],
            own["metadata"].get("namespace", ""),
        ):
            own["metadata"]["name"] += "-again"  # a CRD's name is its own: those are installed for real
            if own["kind"] == "CustomResourceDefinition":
                continue
        cluster.api.create(own, dry_run=True)


def test_a_typo_in_a_monitor_would_be_refused(cluster: Cluster, on: Helm) -> None:
    """That the last test can fail: fields are checked strictly, in the monitors, too."""
    document = next(
        one for one in on.template(CHART, *values("everything")) if one["kind"] == "ServiceMonitor"
    )
    document["spec"]["endpoint"] = document["spec"].pop("endpoints")
    with pytest.raises(ApiError):
        cluster.api.create(document, dry_run=True)


def test_install_upgrade_rollback_uninstall(cluster: Cluster, on: Helm) -> None:
    before = everything(cluster)
    install(on, *reachable())
    assert "--workers=8" in arguments(cluster)
    assert deployment(cluster)["status"]["readyReplicas"] == 2
    first = {one["metadata"]["uid"] for one in pods_of(cluster)}
    assert cluster.api.get("clusterasrruntimes", "default")["spec"]["gpuResource"] == "nvidia.com/gpu"

    more = ["--set", "settings.workers=16", "--set", "monitoring.rules.enabled=true"]
    more += ["--set-string", "runtime.spec.gpuPricePerHour=2.10"]
    install(on, "--reuse-values", *more, verb="upgrade")
    assert "--workers=16" in arguments(cluster)
    assert not first & {one["metadata"]["uid"] for one in pods_of(cluster)}
    assert cluster.api.get("clusterasrruntimes", "default")["spec"]["gpuPricePerHour"] == "2.10"
    assert cluster.api.find("prometheusrules", "asrtune", SYSTEM)

    on("rollback", "asrtune", "1", "--namespace", SYSTEM, "--wait", "--timeout", "60s")
    assert "--workers=8" in arguments(cluster)
    assert "gpuPricePerHour" not in cluster.api.get("clusterasrruntimes", "default")["spec"]
    assert cluster.api.find("prometheusrules", "asrtune", SYSTEM) is None

    uninstall(on)
    left = wait_for_only(cluster, before)
    assert left == set()


def wait_for_only(cluster: Cluster, before: set[str]) -> set[str]:
    """What is there beyond `before`, as soon as that is nothing; the garbage collector takes a moment."""
    seen: set[str] = set()

    def settled() -> bool:
        seen.clear()
        seen.update(everything(cluster) - before)
        return not seen

    wait_for(settled, timeout=30, what="the end of all objects", state=lambda: sorted(seen), every=0.5)
    return seen


def test_a_bad_upgrade_changes_nothing(cluster: Cluster, on: Helm, released: None) -> None:
    version = deployment(cluster)["metadata"]["generation"]
    done = on.run("upgrade", "asrtune", CHART, "--namespace", SYSTEM, "--set", "settings.wrokers=1")
    assert "additional properties 'wrokers' not allowed" in done.error
    assert deployment(cluster)["metadata"]["generation"] == version


def finetune(namespace: str, name: str = "demo", **changes: object) -> Json:
    document = manifest(chain(stages=SHORT) | S3 | changes)
    document["metadata"] = {"name": name, "namespace": namespace}
    return document


def test_the_operator_of_the_chart_completes_a_run(
    cluster: Cluster, operator: ChartedOperator, namespace: str
) -> None:
    cluster.api.create(finetune(namespace))
    end = Runs(cluster, namespace).wait_end("demo")
    assert (end.phase, [one[1:3] for one in end.stages]) == ("Succeeded", [("Succeeded", 1)] * 2)
    pods = cluster.api.list("pods", namespace, labels="asrtune.dev/run=demo")
    assert pods
    images = {container["image"] for pod in pods for container in pod["spec"]["containers"]}
    assert images == {"registry.example/asrtune-trainer:0.1.0"}
    assert operator.get("/healthz")[0] == 200
    lease = cluster.api.get("leases", DEPLOYMENT, SYSTEM)
    assert lease["spec"]["holderIdentity"] in {one["metadata"]["name"] for one in pods_of(cluster)}


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
    assert of_releases(everything(cluster)) == of_the_kinds()


def of_the_kinds() -> set[str]:
    plurals = ("asrfinetunes", "asrevaluations", "asrruntimes", "clusterasrruntimes")
    roles = ("asrtune-view", "asrtune-edit", "asrtune-admin", "asrtune-runtime-view")
    return {
        *(f"CustomResourceDefinition /{one}.asrtune.dev" for one in plurals),
        "APIService /v1alpha1.asrtune.dev",
        *(f"ClusterRole /{one}" for one in roles),
        f"Namespace /{SYSTEM}",
        f"Secret {SYSTEM}/sh.helm.release.v1.asrtune-crds.v1",
        *(f"{kind} {SYSTEM}/{name}" for kind, name in AROUND),
    }


AROUND = (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"))
"""What every namespace has."""


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


def test_two_releases_do_not_get_into_each_others_way(cluster: Cluster, on: Helm) -> None:
    """Each of its own namespaces, from the same chart, under the same name."""
    first, second = cluster.new_namespace("team"), cluster.new_namespace("team")
    for one in (first, second):
        install(on, "--set", f"namespaces={{{one}}}", namespace=one)
    for one in (first, second):
        uninstall(on, one)


def test_the_kinds_chart_goes_and_comes_back_without_a_loss(
    cluster: Cluster, on: Helm, namespace: str
) -> None:
    cluster.api.create(finetune(namespace))
    uid = cluster.api.get("asrfinetunes", "demo", namespace)["metadata"]["uid"]
    on("uninstall", "asrtune-crds", "--namespace", SYSTEM, "--wait")
    assert cluster.api.get("asrfinetunes", "demo", namespace)["metadata"]["uid"] == uid
    on("install", "asrtune-crds", CRDS, "--namespace", SYSTEM, "--wait")
    on("upgrade", "asrtune-crds", CRDS, "--namespace", SYSTEM, "--wait", "--set", "annotations.team=speech")
    definition = cluster.api.get("customresourcedefinitions", "asrfinetunes.asrtune.dev")
    assert definition["metadata"]["annotations"]["team"] == "speech"
    on("rollback", "asrtune-crds", "1", "--namespace", SYSTEM, "--wait")
    assert cluster.api.get("asrfinetunes", "demo", namespace)["metadata"]["uid"] == uid
    cluster.api.delete("asrfinetunes", "demo", namespace)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("view", {("get", "asrfinetunes"), ("get", "asrruntimes")}),
        (
            "edit",
            {
                ("get", "asrfinetunes"),
                ("get", "asrruntimes"),
                ("create", "asrfinetunes"),
                ("delete", "asrevaluations"),
            },
        ),
        (
            "admin",
            {
                ("get", "asrfinetunes"),
                ("get", "asrruntimes"),
                ("create", "asrfinetunes"),
                ("delete", "asrevaluations"),
                ("create", "asrruntimes"),
            },
        ),
    ],
)
def test_people_get_our_kinds_with_kubernetes_own_roles(
    cluster: Cluster, namespace: str, role: str, may: set[tuple[str, str]]
) -> None:
    kubectl = cluster.plane.kubectl
    kubectl("create", "serviceaccount", "person", "--namespace", namespace)
    person = f"{namespace}:person"
    binding = ("create", "rolebinding", "person", f"--clusterrole={role}", f"--serviceaccount={person}")
    kubectl(*binding, "--namespace", namespace)
    account = Client(cluster.plane.service_account(namespace, "person"))
    asked = {
        ("get", "asrfinetunes"),
        ("get", "asrruntimes"),
        ("create", "asrfinetunes"),
        ("delete", "asrevaluations"),
        ("create", "asrruntimes"),
        ("patch", "asrfinetunes/status"),
        ("create", "clusterasrruntimes"),
    }
    wait_for(lambda: allowed(account, namespace, asked), what="the aggregated role")
    assert allowed(account, namespace, asked) == may


def allowed(account: Client, namespace: str, asked: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What the API server says that somebody may do."""
    found = set()
    for verb, resource in asked:
        plural, _, subresource = resource.partition("/")
        attributes = {"namespace": namespace, "verb": verb, "group": "asrtune.dev", "resource": plural}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, "subresource": subresource}},
        }
        _, answer = account.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if answer["status"]["allowed"]:
            found.add((verb, resource))
    return found
