"""The chart on a real API server: every object is taken, releases come, change, go back and go."""

from __future__ import annotations

import pytest

from cluster.client import ApiError, Json
from cluster.cluster import Cluster
from tools.charted import DEPLOYMENT, everything, install, pods_of, reachable, uninstall, wait_for_only
from tools.helm import CHART, CRDS, SYSTEM, Helm, values


def deployment(cluster: Cluster) -> Json:
    return cluster.api.get("deployments", DEPLOYMENT, SYSTEM)


def arguments(cluster: Cluster) -> list[str]:
    (container,) = deployment(cluster)["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


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

    generation = deployment(cluster)["metadata"]["generation"]
    done = on.run("upgrade", "asrtune", CHART, "--namespace", SYSTEM, "--set", "settings.wrokers=1")
    assert "additional properties 'wrokers' not allowed" in done.error
    assert deployment(cluster)["metadata"]["generation"] == generation

    on("rollback", "asrtune", "1", "--namespace", SYSTEM)
    assert "--workers=8" in arguments(cluster)
    assert "gpuPricePerHour" not in cluster.api.get("clusterasrruntimes", "default")["spec"]
    assert cluster.api.find("prometheusrules", "asrtune", SYSTEM) is None

    uninstall(on)
    wait_for_only(cluster, before)
    assert cluster.api.find("leases", DEPLOYMENT, SYSTEM) is None
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


def test_two_releases_do_not_get_into_each_others_way(cluster: Cluster, on: Helm) -> None:
    """Each of its own namespaces, from the same chart, under the same name."""
    teams = [cluster.new_namespace("team") for _ in range(2)]
    for one in teams:
        on("install", "asrtune", CHART, "--namespace", one, "--set", f"namespaces={{{one}}}")
    for one in teams:
        on("uninstall", "asrtune", "--namespace", one)
