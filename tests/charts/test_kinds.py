"""The kinds' own chart: it comes and goes without a loss, and people get rights by Kubernetes' own roles."""

from __future__ import annotations

import pytest

from cluster.client import Client
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.charted import finetune
from tools.helm import CRDS, SYSTEM, Helm

READ = {("get", "asrfinetunes"), ("get", "asrruntimes")}
EDIT = READ | {("create", "asrfinetunes"), ("delete", "asrevaluations")}
MAY = {"view": READ, "edit": EDIT, "admin": EDIT | {("create", "asrruntimes")}}
NOBODY = {("patch", "asrfinetunes/status"), ("create", "clusterasrruntimes")}
"""What only the operator, or a cluster administrator, does."""


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


@pytest.mark.parametrize("role", MAY)
def test_people_get_our_kinds_with_kubernetes_own_roles(
    cluster: Cluster, on: Helm, namespace: str, role: str
) -> None:
    kubectl = cluster.plane.kubectl
    kubectl("create", "serviceaccount", "person", "--namespace", namespace)
    person = f"{namespace}:person"
    binding = ("create", "rolebinding", "person", f"--clusterrole={role}", f"--serviceaccount={person}")
    kubectl(*binding, "--namespace", namespace)
    account = Client(cluster.plane.service_account(namespace, "person"))
    asked = MAY["admin"] | NOBODY
    wait_for(lambda: allowed(account, namespace, asked), what="the aggregated role")
    assert allowed(account, namespace, asked) == MAY[role]


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
