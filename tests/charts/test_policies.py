"""NetworkPolicy and PodMonitor select what the operator makes: their selectors on the pods of every backend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.render.pods import CONTAINER
from tools.gangs import gang_run, unit_of
from tools.helm import CHART, SYSTEM, Helm, Json, of_kind, values

RANKS = {"batch.kubernetes.io/job-completion-index", "training.kubeflow.org/replica-index"}
"""Labels by which controllers tell a pod its rank; tests/operator sees them on real pods."""


def templates(part: Any) -> Iterator[Json]:
    """Every pod template in a manifest."""
    if isinstance(part, Mapping):
        if {"metadata", "spec"} <= set(part) and "containers" in (part["spec"] or {}):
            yield dict(part)
        for one in part.values():
            yield from templates(one)
    elif isinstance(part, list):
        for one in part:
            yield from templates(one)


@pytest.fixture(scope="module")
def pods() -> list[Json]:
    """Templates of the pods of a gang of two nodes, by every backend that puts our labels there itself."""
    run = gang_run({"resources": {"nodes": 2, "gpusPerNode": 1}})
    made = [
        template
        for backend in BACKENDS.values()
        for manifest in backend.render(run, unit_of(run, "train"), 1)
        for template in templates(manifest)
    ]
    assert len(made) >= 3
    return made


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """As the API server evaluates a label selector."""
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    assert all(one["operator"] == "Exists" for one in selector.get("matchExpressions", []))
    return equal and all(one["key"] in labels for one in selector.get("matchExpressions", []))


def reaches(rules: list[Json], key: str, labels: Mapping[str, str], namespace: str, own: str) -> list[Any]:
    """The ports of every rule that lets a pod in, or to it; None: all of them."""
    found = []
    for rule in rules:
        for peer in rule.get(key, []):
            where = peer.get("namespaceSelector")
            here = (
                namespace == own
                if where is None
                else matches(where, {"kubernetes.io/metadata.name": namespace})
            )
            if "ipBlock" not in peer and here and matches(peer.get("podSelector", {}), labels):
                found.append([one["port"] for one in rule["ports"]] if "ports" in rule else None)
    return found


def test_a_gang_may_talk_and_be_watched(helm: Helm, pods: list[Json]) -> None:
    documents = helm.template(CHART, *values("everything"))
    (policy,) = of_kind(documents, "NetworkPolicy")
    (deployment,) = of_kind(documents, "Deployment")
    operator = deployment["spec"]["template"]["metadata"]["labels"]
    spec, own = policy["spec"], policy["metadata"]["namespace"]
    for pod in pods:
        labels = pod["metadata"]["labels"]
        (container,) = (one for one in pod["spec"]["containers"] if one["name"] == CONTAINER)
        assert "telemetry" in {one["name"] for one in container["ports"]}
        assert matches(spec["podSelector"], labels)
        assert reaches(spec["ingress"], "from", labels, own, own) == [None]
        assert reaches(spec["egress"], "to", labels, own, own) == [None]
        assert reaches(spec["ingress"], "from", operator, SYSTEM, own) == [["telemetry"]]
        prometheus = {"app.kubernetes.io/name": "prometheus"}
        assert reaches(spec["ingress"], "from", prometheus, "monitoring", own) == [["telemetry"]]
        assert reaches(spec["egress"], "to", {}, "kube-system", own) == [[53, 53]]
        assert reaches(spec["egress"], "to", {}, "minio", own) == [[9000]]
        # Nobody else: another pod of the namespace, the same labels elsewhere, the operator's neighbours.
        assert reaches(spec["ingress"], "from", {"app": "web"}, own, own) == []
        assert reaches(spec["ingress"], "from", labels, "other", own) == []
        assert reaches(spec["ingress"], "from", {"app": "web"}, SYSTEM, own) == []
        assert reaches(spec["egress"], "to", {"app": "web"}, own, own) == []
    assert not matches(spec["podSelector"], operator)


def test_a_namespace_of_one_node_runs_can_do_without_the_gang(helm: Helm) -> None:
    documents = helm.template(CHART, *values("everything"), "--set", "networkPolicy.gang=false")
    (policy,) = of_kind(documents, "NetworkPolicy")
    peers = [
        peer
        for way, key in (("ingress", "from"), ("egress", "to"))
        for rule in policy["spec"][way]
        for peer in rule[key]
    ]
    assert peers
    assert [one for one in peers if set(one) == {"podSelector"}] == []


def test_the_metadata_service_is_out_of_reach_by_default(helm: Helm) -> None:
    options = ["--set", "networkPolicy.enabled=true", "--set", "networkPolicy.namespaces={speech}"]
    (policy,) = of_kind(helm.template(CHART, *options), "NetworkPolicy")
    (blocks,) = (
        [peer["ipBlock"] for peer in rule["to"]]
        for rule in policy["spec"]["egress"]
        if "ipBlock" in rule["to"][0]
    )
    assert "169.254.0.0/16" in next(one["except"] for one in blocks if one["cidr"] == "0.0.0.0/0")


def test_only_the_first_rank_is_scraped(helm: Helm, pods: list[Json]) -> None:
    (monitor,) = of_kind(helm.template(CHART, *values("everything")), "PodMonitor")
    assert all(matches(monitor["spec"]["selector"], pod["metadata"]["labels"]) for pod in pods)
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "telemetry"
    drops = {
        rule["sourceLabels"][0]: re.compile(rule["regex"])
        for rule in endpoint["relabelings"]
        if rule["action"] == "drop"
    }
    assert set(drops) == {f"__meta_kubernetes_pod_label_{re.sub('[^a-z]', '_', one)}" for one in RANKS}
    for pattern in drops.values():
        assert not pattern.fullmatch("0")
        assert not pattern.fullmatch("")  # a pod without that label
        assert all(pattern.fullmatch(rank) for rank in ("1", "10", "127"))
