"""The alerts by Prometheus' own tools: well-formed, raised when they should be, and silent else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from asrtune_trainer.telemetry.progress import Planned, Progress, ProgressState
from asrtune_trainer.telemetry.prometheus import RunMetrics
from cluster.binaries import find
from tools.events import train_step
from tools.helm import CHART, ROOT, Helm, of_kind, values

RUN = {"kind": "ASRFinetune", "namespace": "speech", "name": "demo"}
POD = {"namespace": "speech", "run": "demo", "stage": "train"}
STAGE = {**RUN, "stage": "train", "type": "Train"}
OURS = {"namespace": "asrtune-system"}
ON = ["--set", "monitoring.rules.enabled=true"]


def series(metric: str, labels: Mapping[str, str], points: str) -> dict[str, str]:
    """A series as promtool reads it, one point a minute."""
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"asrtune_{metric}{{{inside}}}", "values": points}


def condition(kind: str, reason: str, points: str) -> dict[str, str]:
    return series("run_condition", {**RUN, "condition": kind, "reason": reason}, points)


@dataclass(frozen=True)
class Case:
    """What an alert says of some series.

    Attributes:
        alert: its name.
        series: from minute 0 on.
        fires: minute -> labels beside the alert's own, and its value as the message has it; None: silent.
    """

    alert: str
    series: Sequence[Mapping[str, str]]
    fires: Mapping[int, tuple[Mapping[str, str], str] | None] = field(default_factory=dict)


def failed(reason: str) -> dict[str, str]:
    return {**RUN, "condition": "Failed", "reason": reason}


FINISHED = series("run_finish_timestamp_seconds", RUN, "600x200")
TRAINING = series("run_stage_state", {**STAGE, "state": "Running"}, "1x300")
BEGUN = series("run_stage_start_timestamp_seconds", STAGE, "0x300")
HELD = [series("run_gpus", RUN, "16x60"), condition("Running", "PodsRunning", "1x60")]
CASES = (
    Case(
        "AsrtuneRunFailed",
        [condition("Failed", "OutOfMemory", "1x200"), FINISHED],
        {15: (failed("OutOfMemory"), ""), 80: None},
    ),
    Case("AsrtuneRunFailed", [condition("Failed", "Diverged", "1x200"), FINISHED], {15: None}),
    Case(
        "AsrtuneRunDiverged",
        [condition("Failed", "Diverged", "1x200"), FINISHED],
        {15: (failed("Diverged"), ""), 80: None},
    ),
    Case(
        "AsrtuneRunStalled",
        [series("run_stage_restarts", {**STAGE, "cause": "stall"}, "0x20 1x60")],
        {15: None, 25: ({**RUN, "stage": "train"}, "1"), 60: None},
    ),
    Case(
        "AsrtuneRunStalled",
        [series("run_stage_restarts", {**STAGE, "cause": "interruption"}, "0x20 1x60")],
        {25: None},
    ),
    Case(
        "AsrtuneGpusIdle",
        [series("run_advance_timestamp_seconds", RUN, "0x60"), *HELD],
        {10: None, 20: (RUN, "20m 0s")},
    ),
    Case("AsrtuneGpusIdle", [series("run_advance_timestamp_seconds", RUN, "0+60x60"), *HELD], {40: None}),
    Case(
        "AsrtuneGpusIdle",
        [series("run_advance_timestamp_seconds", RUN, "0x60"), series("run_gpus", RUN, "0x60"), HELD[1]],
        {20: None},
    ),
    Case(
        "AsrtuneCheckpointTooOld",
        [series("run_checkpoint_timestamp_seconds", RUN, "0x300"), BEGUN, TRAINING],
        {110: None, 130: (RUN, "2h 10m 0s")},
    ),
    Case("AsrtuneCheckpointTooOld", [BEGUN, TRAINING], {130: (RUN, "2h 10m 0s")}),
    Case(
        "AsrtuneCheckpointTooOld",
        [series("run_checkpoint_timestamp_seconds", RUN, "0+60x300"), BEGUN, TRAINING],
        {250: None},
    ),
    Case(
        "AsrtuneCheckpointTooOld",
        [BEGUN, series("run_stage_state", {**STAGE, "state": "Succeeded"}, "1x300")],
        {130: None},
    ),
    Case(
        "AsrtuneQualityGateFailed",
        [condition("QualityGatePassed", "AboveMaximum", "0x200"), FINISHED],
        {15: ({**RUN, "condition": "QualityGatePassed", "reason": "AboveMaximum"}, ""), 80: None},
    ),
    Case("AsrtuneQualityGateFailed", [condition("QualityGatePassed", "Passed", "1x200"), FINISHED], {15: None}),
    Case(
        "AsrtuneRunWaits",  # the reason changes, the waiting goes on
        [
            condition("Running", "QuotaExhausted", "0x60 _x100"),
            condition("Running", "GpusUnavailable", "_x60 0x100"),
        ],
        {100: None, 125: (RUN, "")},
    ),
    Case("AsrtuneRunWaits", [condition("Running", "Suspended", "0x200")], {150: None}),
    Case(
        "AsrtuneLossNotFinite",
        [series("train_skipped_steps", {**POD, "pod": "a"}, "0x5 3x30")],
        {4: None, 8: (POD, "3"), 25: None},
    ),
    Case("AsrtuneLossNotFinite", [series("train_skipped_steps", POD, "0x5 2x30")], {8: None}),
    Case(
        "AsrtuneGpusWaitForData",
        [series("train_data_wait_ratio", POD, "0.8x40")],
        {4: None, 30: (POD, "80%")},
    ),
    Case("AsrtuneGpusWaitForData", [series("train_data_wait_ratio", POD, "0.1x40")], {30: None}),
    Case("AsrtuneOperatorDown", [], {4: None, 10: (OURS, "")}),
    Case("AsrtuneOperatorDown", [series("operator_leading", OURS, "0x20 _x20")], {15: None, 36: (OURS, "")}),
    Case("AsrtuneOperatorDown", [series("operator_leading", {"namespace": "other"}, "1x20")], {15: (OURS, "")}),
    Case("AsrtuneOperatorNotLeading", [series("operator_leading", OURS, "0x20")], {4: None, 10: ({}, "")}),
    Case(
        "AsrtuneOperatorNotLeading",
        [series("operator_leading", {**OURS, "pod": pod}, points) for pod, points in (("a", "0x20"), ("b", "1x20"))],
        {10: None},
    ),
    Case(
        "AsrtuneOperatorNotReconciling",
        [series("operator_queue_oldest_seconds", OURS, "300x20")],
        {4: None, 10: ({}, "5m 0s")},
    ),
    Case(
        "AsrtuneOperatorNotReconciling",
        [series("operator_last_resync_timestamp_seconds", OURS, "0x60")],
        {14: None, 30: ({}, "30m 0s")},
    ),
    Case(
        "AsrtuneOperatorErrors",
        [series("operator_reconcile_errors_total", {**OURS, "kind": "ASRFinetune", "error": "KeyError"}, "0+10x60")],
        {5: None, 25: ({"kind": "ASRFinetune", "error": "KeyError"}, "")},
    ),
    Case(
        "AsrtuneOperatorRequestsFail",
        [
            series("operator_api_request_seconds_count", {**OURS, "resource": "jobs", "code": code}, "0+60x60")
            for code in ("200", "403", "404")
        ],
        {5: None, 25: ({"resource": "jobs", "code": "403"}, "")},
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def spec(helm: Helm) -> Any:
    """The groups of the rendered PrometheusRule."""
    (rule,) = of_kind(helm.template(CHART, *ON), "PrometheusRule")
    return rule["spec"]


@pytest.fixture(scope="module")
def rules(spec: Any) -> dict[str, Any]:
    return {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}


def promtool(*arguments: str | Path) -> str:
    command = [find("prometheus", "promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("variant", ["default", "namespaced", "everything"])
def test_they_are_well_formed(helm: Helm, variant: str, tmp_path: Path) -> None:
    (rule,) = of_kind(helm.template(CHART, *values(variant), *ON), "PrometheusRule")
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump(rule["spec"]))
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", path)
    assert "@" not in re.sub(r"@(start|end)\(\)", "", path.read_text())


def test_they_fire_when_they_should(spec: Any, rules: Mapping[str, Any], tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(spec))
    tests = [
        {
            "interval": "1m",
            "input_series": list(case.series),
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": expected(rules[case.alert], said)}
                for minute, said in case.fires.items()
            ],
        }
        for case in CASES
    ]  # fmt: skip
    document = {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "tests.yaml")


def expected(rule: Mapping[str, Any], said: tuple[Mapping[str, str], str] | None) -> list[dict[str, Any]]:
    if said is None:
        return []
    labels, value = said
    texts = {name: expand(text, labels, value) for name, text in rule["annotations"].items()}
    return [{"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": texts}]


def expand(text: str, labels: Mapping[str, str], value: str) -> str:
    """What Prometheus makes of a message; a label that the alert does not have is a KeyError."""
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda match: labels[match[1]], text)
    return re.sub(r"{{ \$value( \| \w+)? }}", lambda _: value, text)


def test_every_alert_is_tried_both_ways(rules: Mapping[str, Any]) -> None:
    for name in rules:
        outcomes = [said is not None for case in CASES if case.alert == name for said in case.fires.values()]
        assert set(outcomes) == {True, False}, name


def test_every_alert_has_a_runbook(rules: Mapping[str, Any]) -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    assert sections == list(rules)
    for name, rule in rules.items():
        assert rule["annotations"]["runbook_url"] == f"https://asrtune.example/runbooks/#{name.lower()}"
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_some_can_be_left_out(helm: Helm) -> None:
    (rule,) = of_kind(helm.template(CHART, *values("namespaced")), "PrometheusRule")
    names = {one["alert"] for group in rule["spec"]["groups"] for one in group["rules"]}
    assert "AsrtuneRunFailed" in names
    assert not names & {"AsrtuneRunWaits", "AsrtuneLossNotFinite", "AsrtuneGpusWaitForData"}
    assert {"asrtune-runs", "asrtune-operator"} == {group["name"] for group in rule["spec"]["groups"]}


def test_the_pods_series_exist(rules: Mapping[str, Any]) -> None:
    """Of the operator's the test on the server asks a real one."""
    progress = Progress(ProgressState.begin("demo", (Planned("train", 100, trains=True),), 1000.0))
    metrics = RunMetrics(progress)
    step = train_step(step=100)
    progress.accept(step)
    metrics.accept(step)
    served = set(re.findall(r"^(asrtune_\w+){", generate_latest(metrics.registry()).decode(), re.MULTILINE))
    asked = {name for rule in rules.values() for name in re.findall(r"asrtune_train_\w+", rule["expr"])}
    assert asked
    assert asked <= served
