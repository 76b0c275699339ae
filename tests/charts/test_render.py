"""What the charts come to, without a cluster."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel
from syrupy.assertion import SnapshotAssertion

from asrtune_operator.settings import Settings
from tools.audit import granted
from tools.helm import CHART, CRDS, ROOT, Helm, Json, of_kind, values

VARIANTS = ("default", "namespaced", "everything")
FROM_ELSEWHERE = {
    "namespaces": "namespaces",
    "image": "trainerImage",
    "lease": "lease.enabled",
    "lease_name": "lease.name",
    "lease_namespace": "the release's namespace",
    "lease_holder": "the pod's name",
}
"""Settings that do not stand under `settings`, and where they come from."""
LEFT_OUT = {"kubeconfig", "context"}
"""How to reach a cluster from outside of it."""


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("chart", [CHART, CRDS], ids=["asrtune", "asrtune-crds"])
def test_lint(helm: Helm, chart: Path) -> None:
    assert "[WARNING]" not in helm("lint", "--strict", chart)


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden(helm: Helm, variant: str, snapshot: SnapshotAssertion) -> None:
    documents = helm.template(CHART, *values(variant))
    for one in of_kind(documents, "ConfigMap"):  # the dashboards have tests of their own
        one["data"] = sorted(one["data"])
    assert yaml.safe_dump_all(documents) == snapshot


def test_golden_of_the_kinds(helm: Helm, snapshot: SnapshotAssertion) -> None:
    documents = helm.template(CRDS, "--set", "annotations.team=speech")
    for one in of_kind(documents, "CustomResourceDefinition"):
        del one["spec"]
    assert yaml.safe_dump_all(documents) == snapshot


def test_the_kinds_are_ours_and_stay(helm: Helm) -> None:
    found = {one["metadata"]["name"]: one for one in of_kind(helm.template(CRDS), "CustomResourceDefinition")}
    ours = {one["metadata"]["name"]: one for one in map(load, sorted((ROOT / "crds").glob("*.yaml")))}
    assert {name: one["spec"] for name, one in found.items()} == {
        name: one["spec"] for name, one in ours.items()
    }
    kept = [one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in found.values()]
    assert kept == ["keep"] * 4


def test_what_is_copied_is_what_it_was_copied_from() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "hack/charts.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_charts_have_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for chart in (CHART, CRDS):
        about = load(chart / "Chart.yaml")
        assert (about["version"], about["appVersion"]) == (version, version)


@pytest.mark.parametrize(("variant", "file"), [("default", "cluster"), ("namespaced", "namespaced")])
def test_rights_are_those_that_are_shipped(helm: Helm, variant: str, file: str) -> None:
    options = [*values(variant), "--set", "lease.enabled=true"]
    shipped = list(yaml.safe_load_all((ROOT / f"operator/rbac/{file}.yaml").read_text()))
    rendered = helm.template(CHART, *options)
    assert granted(rendered) == granted(shipped)
    assert _scoped(rendered) == _scoped(shipped)


def _scoped(documents: list[Json]) -> set[tuple[str, str, str]]:
    """What is allowed for the whole cluster, and what for objects of single names."""
    return {
        (document["kind"], resource, name)
        for document in documents
        if document["kind"] in {"Role", "ClusterRole"}
        for rule in document["rules"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", ["*"])
        if document["kind"] == "ClusterRole" or name != "*"
    }


def test_a_namespaced_operator_has_no_right_outside(helm: Helm) -> None:
    documents = helm.template(CHART, *values("namespaced"))
    assert [one["metadata"]["name"] for one in documents if one["kind"].startswith("Cluster")] == []
    assert {one["metadata"]["namespace"] for one in of_kind(documents, "RoleBinding")} == {"speech", "calls"}


def test_every_setting_has_a_value_or_is_left_out() -> None:
    own = load(CHART / "values.yaml")["settings"]
    expected = {
        to_camel(name): field.default
        for name, field in Settings.model_fields.items()
        if name not in {*FROM_ELSEWHERE, *LEFT_OUT}
    }
    assert own == expected


def test_every_argument_is_an_option_of_the_operator(helm: Helm) -> None:
    (deployment,) = of_kind(helm.template(CHART, *values("everything")), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = {one.partition("=")[0][2:].replace("-", "_") for one in container["args"][1:]}
    assert given == set(Settings.model_fields) - LEFT_OUT - {"namespaces"}
    assert "--workers=16" in container["args"]
    assert "--image=harbor.example:5000/speech/trainer:0.1.0-cuda12" in container["args"]


def schema() -> Any:
    return json.loads((CHART / "values.schema.json").read_text())


def objects(part: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema of an object, with its path."""
    if isinstance(part, list):
        for one in part:
            yield from objects(one, path)
    elif isinstance(part, dict):
        if part.get("type") == "object":
            yield path, part
        for key, one in part.items():
            yield from objects(one, f"{path}/{key}")


FREE = re.compile(
    r"/(global|affinity|valueFrom|tolerations/items|namespaceSelector|podSelector|resources/properties/\w+)$"
)
"""Kubernetes' own objects, which the API server checks."""


def test_no_object_takes_unknown_fields() -> None:
    taking = [
        path
        for path, one in objects(schema())
        if one.get("additionalProperties") is not False
        and not (isinstance(one.get("additionalProperties"), dict) and "properties" not in one)
        and not FREE.search(path)
    ]
    assert taking == []


def test_every_value_is_in_the_schema_and_documented() -> None:
    text = (CHART / "values.yaml").read_text()
    document = schema()

    def compare(given: Mapping[str, Any], known: Mapping[str, Any], path: str) -> Iterator[str]:
        while "$ref" in known:
            known = document["$defs"][known["$ref"].rpartition("/")[2]]
        properties = set(known.get("properties", {})) - {"global"}
        if not properties or path in {".runtime.spec", ".resources"}:
            return
        yield from (f"{path}.{name}" for name in set(given) ^ properties)
        for name, one in given.items():
            if isinstance(one, dict) and name in properties:
                yield from compare(one, known["properties"][name], f"{path}.{name}")

    assert list(compare(yaml.safe_load(text), document, "")) == []
    assert undocumented(text.splitlines()) == []


def undocumented(lines: list[str]) -> list[str]:
    """Keys without a comment over them; a few say enough by their name inside an object that has one."""
    plain = {"enabled", "repository", "create", "name", "pullPolicy", "tag", "to"}
    found = []
    for before, line in itertools.pairwise(lines):
        match = re.match(r" *(\w+):", line)
        if match and not before.strip().startswith("#") and match[1] not in plain:
            found.append(match[1])
    return found


REFUSED = {
    "replica=3": "at '': additional properties 'replica' not allowed",
    "settings.worker=3": "at '/settings': additional properties 'worker' not allowed",
    "settings.workers=0": "at '/settings/workers': minimum: got 0, want 1",
    "settings.logLevel=LOUD": "at '/settings/logLevel': value must be one of 'DEBUG', 'INFO'",
    "replicas=two": "at '/replicas': got string, want integer",
    "image.digest=sha256:12": "at '/image/digest': 'sha256:12' does not match pattern",
    "runtime.spec.imagee=x": "at '/runtime/spec': additional properties 'imagee' not allowed",
    "runtime.spec.nccl.fabric=Token": "at '/runtime/spec/nccl/fabric': value must be one of 'Auto', 'Ethernet'",
    "runtime.spec.gpuPricePerHour=two": "at '/runtime/spec/gpuPricePerHour': 'two' does not match pattern",
    "networkPolicy.enable=true": "at '/networkPolicy': additional properties 'enable' not allowed",
    "monitoring.rules.disabled={Nope}": "at '/monitoring/rules/disabled/0': value must be one of 'AsrtuneRunFailed'",
    "monitoring.rules.thresholds.idle=5": "at '/monitoring/rules/thresholds': additional properties 'idle'",
    "namespaces={Speech}": "at '/namespaces/0': 'Speech' does not match pattern",
    "lease.enabled=false": "set replicas to 1, or lease.enabled to true",
    "networkPolicy.enabled=true": "list their namespaces in networkPolicy.namespaces",
    "serviceAccount.create=false": "serviceAccount.name must say which ServiceAccount there is",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_mistake_is_told_where_it_is(helm: Helm, setting: str) -> None:
    done = helm.run("template", "asrtune", CHART, "--set", setting)
    assert done.code != 0
    assert REFUSED[setting] in done.error


def test_dashboards_are_what_they_were(helm: Helm) -> None:
    files = {path.name: path.read_text() for path in (CHART / "dashboards").glob("*.json")}
    assert files
    found = of_kind(helm.template(CHART, *values("everything")), "ConfigMap")
    data = {name: text for one in found for name, text in one["data"].items()}
    assert {name: json.loads(text) for name, text in data.items()} == {
        name: json.loads(text) for name, text in files.items()
    }
    assert {one["metadata"]["labels"]["grafana_dashboard"] for one in found} == {"1"}


@pytest.mark.parametrize("chart", [CHART, CRDS], ids=["asrtune", "asrtune-crds"])
def test_a_packed_chart_is_the_same(helm: Helm, chart: Path, tmp_path: Path) -> None:
    """Nothing that templates read is outside the chart, or ignored."""
    helm("package", chart, "--destination", tmp_path)
    (packed,) = tmp_path.glob("*.tgz")
    options = values("everything") if chart == CHART else []
    assert helm.template(packed, *options) == helm.template(chart, *options)


def test_it_is_a_part_of_a_larger_chart(helm: Helm, tmp_path: Path) -> None:
    """Helm hands every subchart a `global`, and its own values under its name."""
    parent = tmp_path / "platform"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "asrtune").symlink_to(CHART)
    about = {"apiVersion": "v2", "name": "platform", "version": "1.0.0"}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(about))
    (parent / "values.yaml").write_text(yaml.safe_dump({"global": {"a": 1}, "asrtune": {"replicas": 1}}))
    (deployment,) = of_kind(helm.template(parent, release="speech"), "Deployment")
    assert deployment["metadata"]["name"] == "speech-asrtune-operator"
    assert deployment["spec"]["replicas"] == 1
