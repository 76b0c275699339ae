"""Small parts of the operator: statuses, refusals, settings, metrics, logs."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from typer.testing import CliRunner

from asrtune_api.status import FinetuneStatus, Phase, Progress
from asrtune_operator.act.refusals import refusal
from asrtune_operator.act.statuses import difference, dump_status, only_ticks, read_status
from asrtune_operator.cli import app
from asrtune_operator.kube.client import ApiError
from asrtune_operator.settings import Settings
from asrtune_operator.state.objects import RunObject, run_object
from asrtune_operator.state.store import Store
from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.logs import JsonFormatter
from asrtune_operator.telemetry.metrics import Metrics
from asrtune_operator.values.kinds import FINETUNES
from asrtune_operator.values.observed import WaitReason
from tools.objects import custom_resource

JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


def merge(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch as RFC 7396 says, written apart from what is tested."""
    result = dict(document)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merge(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_leads_from_one_status_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = difference(old, new)
    assert merge(old, patch) == new
    assert bool(patch) == (old != new)


def run_with(status: dict[str, Any], name: str = "demo", uid: str = "run-1") -> RunObject:
    return run_object(custom_resource({}, status=status, name=name, uid=uid))


def test_a_written_status_reads_as_the_same_and_is_not_written_again() -> None:
    status = FinetuneStatus(
        phase=Phase.RUNNING, progress=Progress.model_validate({"percent": 3, "loss": "0.5"})
    )
    document = dump_status(status)
    assert read_status(run_with(document)) == status
    assert difference(document, dump_status(read_status(run_with(document)))) == {}


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    assert read_status(run_with({"phase": "Dancing"})) == FinetuneStatus()


@pytest.mark.parametrize(
    ("change", "ticks"),
    [
        ({"progress": {"percent": 9}}, True),
        ({"usage": {"gpuSeconds": 9}}, True),
        ({"attempts": [{"stage": "train", "attempt": 1, "gpuSeconds": 9}]}, True),
        ({"attempts": [{"stage": "train", "attempt": 2, "gpuSeconds": 1}]}, False),
        ({"phase": "Failed"}, False),
    ],
)
def test_what_is_worth_a_write_at_once(change: dict[str, Any], ticks: bool) -> None:
    old = {"phase": "Running", "attempts": [{"stage": "train", "attempt": 1, "gpuSeconds": 1}]}
    assert only_ticks(old, old | change) is ticks


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (403, 'jobs.batch "x" is forbidden: exceeded quota: few', "RESOURCE_QUOTA_EXCEEDED"),
        (403, 'admission webhook "v.example" denied the request: no', "ADMISSION_REFUSED"),
        (422, 'Job.batch "x" is invalid: spec.template', "ADMISSION_REFUSED"),
        (403, 'jobs.batch is forbidden: User "a:b" cannot patch "jobs"', "BACKEND_UNAVAILABLE"),
        (404, "the server could not find the requested resource", "BACKEND_UNAVAILABLE"),
        (500, 'Internal error occurred: failed calling webhook "w.example": EOF', "BACKEND_UNAVAILABLE"),
        (409, "the object has been modified", None),
        (500, "etcdserver: leader changed", None),
        (429, "too many requests", None),
    ],
)  # fmt: skip
def test_why_the_api_server_refuses(status: int, message: str, reason: str | None) -> None:
    found = refusal(ApiError("PATCH /x", status, "", message))
    assert (found.reason if found else None) == (WaitReason[reason] if reason else None)
    assert found is None or message in found.message


def test_every_setting_is_an_option_that_says_what_it_does() -> None:
    text = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "500", "TERM": "dumb"}).output
    for name, field in Settings.model_fields.items():
        assert field.description, name
        flag = "--namespace" if name == "namespaces" else f"--{name.replace('_', '-')}"
        line = next(line for line in text.splitlines() if f"{flag} " in line)
        assert " ".join(field.description.split())[:60] in line


def test_a_wrong_setting_is_refused_with_its_name() -> None:
    result = CliRunner().invoke(app, ["run", "--workers", "0"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "--workers" in result.output


def test_series_of_a_deleted_run_vanish() -> None:
    async def body() -> None:
        store, metrics = Store(), Metrics()
        metrics.follow(store, WorkQueue(), {})
        status = {
            "phase": "Running",
            "progress": {"percent": 40, "loss": "0.25"},
            "usage": {"gpuSeconds": 60, "lost": [{"reason": "Preempted", "gpuSeconds": 5}]},
            "results": [{"set": "calls", "model": "finetuned", "metric": "CER", "cer": "8.2"}],
        }
        store.put(FINETUNES, run_with(status))
        store.put(FINETUNES, run_with({"phase": "Failed", "progress": {"percent": "?"}}, "other", "run-2"))
        text = generate_latest(metrics.registry).decode()
        own = 'kind="ASRFinetune",name="demo",namespace="speech"'
        assert f"asrtune_run_loss{{{own}}} 0.25" in text
        assert f'asrtune_run_lost_gpu_seconds_by_reason{{{own},reason="Preempted"}} 5.0' in text
        assert 'asrtune_run_error_rate{kind="ASRFinetune",metric="CER",model="finetuned"' in text
        assert 'asrtune_runs{kind="ASRFinetune",namespace="speech",phase="Failed"} 1.0' in text
        store.drop(FINETUNES, "run-1")
        assert "demo" not in generate_latest(metrics.registry).decode()

    asyncio.run(body())


def test_the_state_of_a_run_is_told() -> None:
    async def body() -> str:
        store, metrics = Store(), Metrics()
        metrics.follow(store, WorkQueue(), {})
        at = "2025-01-01T00:00:10Z"
        stage = {"name": "train", "type": "Train", "state": "Running", "startedAt": at, "stallRestarts": 1}
        stalled = {"type": "Stalled", "status": "True", "reason": "NoProgress"}
        unknown = {"type": "QualityGatePassed", "status": "Unknown", "reason": "NotEvaluated"}
        status = {
            "conditions": [stalled, unknown, "?"],
            "progress": {"checkpointAt": at, "advancedAt": "yesterday"},
            "stages": [stage],
        }
        store.put(FINETUNES, run_with(status))
        return generate_latest(metrics.registry).decode()

    text = asyncio.run(body())
    own, stage = 'kind="ASRFinetune",name="demo",namespace="speech"', 'stage="train"'
    held = 'kind="ASRFinetune",name="demo",namespace="speech",reason="NoProgress"'
    assert f'asrtune_run_condition{{condition="Stalled",{held}}} 1.0' in text
    assert f"asrtune_run_checkpoint_timestamp_seconds{{{own}}} 1.73568961e+09" in text
    assert f'asrtune_run_stage_state{{{own},{stage},state="Running",type="Train"}} 1.0' in text
    assert f'asrtune_run_stage_start_timestamp_seconds{{{own},{stage},type="Train"}} 1.73568961e+09' in text
    assert f'asrtune_run_stage_restarts{{cause="stall",{own},{stage},type="Train"}} 1.0' in text
    assert f'asrtune_run_stage_restarts{{cause="failure",{own},{stage},type="Train"}} 0.0' in text
    assert "QualityGatePassed" not in text  # neither true nor false
    assert "asrtune_run_advance_timestamp_seconds{" not in text


def test_a_log_line_is_one_json_object() -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "two\nlines", "run": "a/b"})
    entry = json.loads(JsonFormatter().format(record))
    assert (entry["message"], entry["run"], entry["level"]) == ("two\nlines", "a/b", "INFO")
