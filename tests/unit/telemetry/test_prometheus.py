"""Metrics: right values, and names that Prometheus's own linter has nothing to say against."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from asrtune_trainer.telemetry.events import (
    Checkpointed,
    Event,
    Scored,
    StageFinished,
    StageSkipped,
    StageStarted,
    Validated,
)
from asrtune_trainer.telemetry.progress import Planned, Progress, ProgressState
from asrtune_trainer.telemetry.prometheus import RunMetrics
from tools.events import anything, train_step

PLAN = (
    Planned("prepare", 10, trains=False),
    Planned("train", 70, trains=True),
    Planned("evaluate", 20, trains=False),
)
RUN = (
    StageSkipped("prepare", "Prepare", 1, 3),
    StageStarted("train", "Train", 2, 3),
    train_step(step=100),
    train_step(step=200),
    Validated("train", 2, 200, 1.5, 0.5, 12.5, 3.0, best=True),
    Checkpointed("train", 200, 0.5, 2.0),
    StageFinished("train", "Train", 60.0, {"best_cer": 12.5}),
    StageStarted("evaluate", "Evaluate", 3, 3),
    Scored("evaluate", "telephone", "base", 50.0, 45.0, 55.0, 300),
    Scored("evaluate", "telephone", "finetuned", 25.0, 20.0, 30.0, 300),
)


class Clock:
    """Goes on by a second at each look."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def metrics_of(*events: Event) -> RunMetrics:
    clock = Clock()
    progress = Progress(ProgressState.begin("demo", PLAN, 1000.0), clock=clock)
    metrics = RunMetrics(progress, clock=clock)
    for event in events:
        progress.accept(event)
        metrics.accept(event)
    return metrics


def samples(metrics: RunMetrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = generate_latest(metrics.registry()).decode()
    found = [sample for family in parse(text) for sample in family.samples]
    assert all(sample.labels["run"] == "demo" for sample in found)
    table = {
        (
            sample.name,
            frozenset((key, value) for key, value in sample.labels.items() if key != "run"),
        ): sample.value
        for sample in found
    }
    assert len(table) == len(found), "a series twice"
    return table


def value(metrics: RunMetrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("asrtune_train_loss", {"stage": "train"}, 1.25),
        ("asrtune_train_accuracy_ratio", {"stage": "train"}, 0.75),
        ("asrtune_train_learning_rate", {"stage": "train"}, 5e-5),
        ("asrtune_train_gradient_norm", {"stage": "train"}, 2.5),
        ("asrtune_train_epoch", {"stage": "train"}, 2),
        ("asrtune_train_step", {"stage": "train"}, 200),
        ("asrtune_train_steps_planned", {"stage": "train"}, 400),
        ("asrtune_train_skipped_steps", {"stage": "train"}, 1),
        ("asrtune_train_utterances_per_second", {"stage": "train"}, 40),
        ("asrtune_train_audio_seconds_per_second", {"stage": "train"}, 160),
        ("asrtune_train_data_wait_ratio", {"stage": "train"}, 0.025),
        ("asrtune_train_step_seconds", {"stage": "train"}, 0.4),
        ("asrtune_train_phase_seconds", {"stage": "train", "phase": "backward"}, 0.2),
        ("asrtune_train_memory_peak_bytes", {"stage": "train"}, 2e9),
        ("asrtune_train_memory_used_bytes", {"stage": "train"}, 1e9),
        ("asrtune_train_padding_ratio", {"stage": "train"}, 0.065),
        ("asrtune_validation_loss", {"stage": "train"}, 1.5),
        ("asrtune_validation_cer_ratio", {"stage": "train"}, 0.125),
        ("asrtune_chain_best_validation_cer_ratio", {}, 0.125),
        ("asrtune_checkpoint_step", {"stage": "train"}, 200),
        ("asrtune_checkpoint_wait_seconds", {"stage": "train"}, 0.5),
        ("asrtune_checkpoint_duration_seconds", {"stage": "train"}, 2),
        ("asrtune_cer_ratio", {"stage": "evaluate", "set": "telephone", "model": "base"}, 0.5),
        ("asrtune_cer_ratio", {"stage": "evaluate", "set": "telephone", "model": "finetuned"}, 0.25),
        ("asrtune_cer_low_ratio", {"stage": "evaluate", "set": "telephone", "model": "finetuned"}, 0.2),
        ("asrtune_cer_high_ratio", {"stage": "evaluate", "set": "telephone", "model": "finetuned"}, 0.3),
        ("asrtune_scored_utterances", {"stage": "evaluate", "set": "telephone", "model": "base"}, 300),
        ("asrtune_stage_state", {"stage": "prepare", "state": "skipped"}, 1),
        ("asrtune_stage_state", {"stage": "train", "state": "finished"}, 1),
        ("asrtune_stage_state", {"stage": "train", "state": "running"}, 0),
        ("asrtune_stage_state", {"stage": "evaluate", "state": "running"}, 1),
        ("asrtune_stage_progress_ratio", {"stage": "train"}, 1),
        ("asrtune_stage_progress_ratio", {"stage": "evaluate"}, 0),
        ("asrtune_stage_duration_seconds", {"stage": "train"}, 60),
        ("asrtune_stage_result", {"stage": "train", "metric": "best_cer"}, 12.5),
        ("asrtune_chain_progress_ratio", {}, 0.8),
        ("asrtune_chain_start_timestamp_seconds", {}, 1000),
    ],
)
def test_values(name: str, labels: dict[str, str], expected: float) -> None:
    assert value(metrics_of(*RUN), name, **labels) == pytest.approx(expected)


def test_a_stage_is_in_exactly_one_state() -> None:
    table = samples(metrics_of(*RUN))
    for stage in ("prepare", "train", "evaluate"):
        states = [
            v
            for (name, labels), v in table.items()
            if name == "asrtune_stage_state" and ("stage", stage) in labels
        ]
        assert sorted(states) == [0, 0, 0, 1]


def test_the_age_of_a_checkpoint_grows_between_scrapes() -> None:
    metrics = metrics_of(*RUN)
    first = value(metrics, "asrtune_checkpoint_age_seconds", stage="train")
    second = value(metrics, "asrtune_checkpoint_age_seconds", stage="train")
    assert first is not None
    assert second == first + 1
    assert value(metrics, "asrtune_checkpoint_timestamp_seconds", stage="train") is not None


def test_what_was_not_measured_is_not_exported() -> None:
    metrics = metrics_of(train_step(accuracy=None, memory_used_bytes=None, step_seconds=0.0))
    for name in ("accuracy_ratio", "memory_used_bytes", "data_wait_ratio"):
        assert value(metrics, f"asrtune_train_{name}", stage="train") is None
    assert value(metrics, "asrtune_validation_loss", stage="train") is None
    assert value(metrics, "asrtune_chain_eta_seconds") is None


def test_a_diverged_loss_is_exported_as_it_is() -> None:
    loss = value(metrics_of(train_step(loss=math.nan)), "asrtune_train_loss", stage="train")
    assert loss is not None
    assert math.isnan(loss)


def test_names_follow_the_conventions() -> None:
    """The rules of `promtool check metrics` that gauges can break."""
    text = generate_latest(metrics_of(*RUN).registry()).decode()
    families = list(parse(text))
    assert len(families) > 35
    for family in families:
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        assert re.fullmatch(r"asrtune(_[a-z]+)+", family.name)
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert not re.search(
            r"gauge|counter|percent|milli|minutes|hours|kilo|mega|giga|_(ms|s|b|kb|mb|gb)(_|$)", family.name
        )
        for sample in family.samples:
            assert sample.name == family.name
            assert all(re.fullmatch(r"[a-z]+", label) for label in sample.labels)


@given(st.lists(anything, max_size=8))
def test_whatever_is_emitted_both_formats_parse(events: list[Event]) -> None:
    metrics = metrics_of(*events)
    list(parse(generate_latest(metrics.registry()).decode()))
    list(parse_openmetrics(generate_openmetrics(metrics.registry()).decode()))
