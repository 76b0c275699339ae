"""Every query of every dashboard, asked of a real Prometheus that saw a real run from its beginning to its end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from cluster.binaries import find
from tools.boards import BOARDS, LASTS, filled, panels
from tools.helm import CHART, Helm, of_kind
from tools.watched import Watched, watched

ROOT: Final = Path(__file__).parents[2]
OF_TARGETS: Final = {"__name__", "instance", "job", "namespace", "pod", "container", "run"}
"""Labels that say which run and which pod it is."""
PANELS: Final = [
    pytest.param(board, panel, id=f"{board}: {panel['title']}") for board in BOARDS for panel in panels(board)
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("watched")) as found:
        yield found


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_every_query_has_data(board: str, panel: dict[str, Any], seen: Watched) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        expression = filled(target["expr"], seen.variables)
        assert seen.prometheus.between(expression, seen.begun, seen.ended), f"{panel['title']}: {expression}"


@pytest.mark.parametrize(
    ("board", "panel"), [one for one in PANELS if one.values[1]["description"].endswith(LASTS)]
)
def test_what_lasts_is_there_when_the_pods_are_gone(board: str, panel: dict[str, Any], seen: Watched) -> None:
    asked = [filled(one["expr"], seen.variables) for one in panel["targets"]]
    assert any(seen.prometheus.at(one, seen.ended) for one in asked), panel["title"]


def test_the_pods_series_are_gone(seen: Watched) -> None:
    """Otherwise the test above would prove nothing."""
    pods = f'{{__name__=~"asrtune_.+",run="{seen.name}"}}'
    assert seen.prometheus.between(pods, seen.begun, seen.ended)
    assert not seen.prometheus.at(pods, seen.ended)


@pytest.mark.parametrize("board", BOARDS)
def test_what_a_reader_chooses_is_there(board: str, seen: Watched) -> None:
    chosen = [one for one in BOARDS[board]["templating"]["list"] if one["type"] == "query"]
    assert chosen
    for variable in chosen:
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(variable["query"], seen.variables))
        assert query, variable["query"]
        values = seen.prometheus.values(query[2], query[1])
        assert re.compile(seen.variables[variable["name"]]).fullmatch(values[0]) or (
            seen.variables[variable["name"]] in values
        ), f"{variable['name']}: {values}"


def test_what_happened_is_marked(seen: Watched) -> None:
    marks = {one["name"]: filled(one["expr"], seen.variables) for one in BOARDS["run"]["annotations"]["list"]}
    assert len(marks) == 2
    for name, expression in marks.items():
        assert seen.prometheus.between(expression, seen.begun, seen.ended), name


def test_what_was_lost_has_its_reason(seen: Watched) -> None:
    """A number that is known, through all parts: the eviction costs what lies after the checkpoint."""
    own = f'namespace="{seen.namespace}",name="{seen.name}"'
    (lost,) = seen.prometheus.at(f"asrtune_run_lost_gpu_seconds_by_reason{{{own}}}", seen.ended)
    assert lost.labels["reason"] == "Evicted"
    assert lost.points[0][1] >= 2
    (restarts,) = seen.prometheus.at(f"sum by (cause) (asrtune_run_stage_restarts{{{own}}}) > 0", seen.ended)
    assert (restarts.labels, restarts.points[0][1]) == ({"cause": "interruption"}, 1)


@pytest.mark.parametrize("side", ["pod_metrics", "operator_metrics"])
def test_promtool_has_nothing_to_say(side: str, seen: Watched) -> None:
    text = getattr(seen, side)
    assert "asrtune_" in text
    done = subprocess.run(
        [find("prometheus", "promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_alerts_ask_for_what_there_is(seen: Watched, tmp_path: Path) -> None:
    """Their own tests give them series made up for the purpose: a name that nobody exports would pass there."""
    chart = Helm(tmp_path).template(CHART, "--set", "monitoring.rules.enabled=true")
    (rules,) = of_kind(chart, "PrometheusRule")
    asked = [rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]]
    names = {name for one in asked for name in re.findall(r"\basrtune_\w+", one)}
    assert len(names) > 10
    assert names - set(seen.prometheus.values("__name__")) == set()
    for expression in asked:
        seen.prometheus.at(expression, seen.ended)


def exported(text: str) -> dict[str, set[str]]:
    """Our metrics in an exposition with their labels."""
    found: dict[str, set[str]] = {}
    for family in parse(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return {name: labels for name, labels in found.items() if name.startswith("asrtune_")}


def test_the_documented_metrics_are_the_exported_ones(seen: Watched) -> None:
    """Both ways, with the labels besides those that say which run it is."""
    text = (ROOT / "docs/dashboards.md").read_text()
    rows = re.findall(r"^\| `(asrtune_\w+)` \|([^|]*)\|", text, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert len(documented) == len(rows)
    scraped = seen.prometheus.between(
        f'{{__name__=~"asrtune_.+",run="{seen.name}",pod!=""}}', seen.begun, seen.ended
    )
    of_pods = {one.labels["__name__"]: set(one.labels) - OF_TARGETS for one in scraped}
    of_pods["asrtune_train_memory_used_bytes"] = {"stage"}  # of a GPU alone
    of_operator = {
        name: labels - {"kind", "namespace", "name"} if name.startswith("asrtune_run_") else labels
        for name, labels in exported(seen.operator_metrics).items()
    }
    assert documented == of_pods | of_operator
