"""Runs with the statuses that an operator writes, for what shows them."""

from __future__ import annotations

import copy
from typing import Any

from cluster.client import Client

Json = dict[str, Any]

_SPEC: Json = {
    "model": {"hub": "iic/SenseVoiceSmall"},
    "data": {
        "train": [{"name": "calls", "uri": "s3://speech/train.jsonl"}],
        "validation": [{"name": "dev", "uri": "s3://speech/dev.jsonl"}],
        "test": [
            {"name": "calls", "uri": "s3://speech/test.jsonl"},
            {"name": "studio", "uri": "s3://speech/studio.jsonl", "retention": True},
        ],
    },
    "stages": [
        {"name": "prepare", "type": "Prepare"},
        {"name": "train", "type": "Train", "train": {"epochs": 3}},
        {"name": "evaluate", "type": "Evaluate"},
        {"name": "publish", "type": "Publish"},
    ],
    "resources": {"nodes": 2, "gpusPerNode": 8},
    "output": {"uri": "s3://speech/runs/calls"},
}
_PREPARED: Json = {
    "name": "prepare",
    "type": "Prepare",
    "state": "Succeeded",
    "attempts": 1,
    "startedAt": "2026-01-01T00:00:20Z",
    "finishedAt": "2026-01-01T00:06:20Z",
    "artifactUri": "s3://speech/runs/calls/stages/prepare",
    "metrics": {"lines": "80120", "rejected": "31", "utterances": "80089", "trainHours": "101.25"},
}
_FIRST: Json = {
    "stage": "train",
    "attempt": 1,
    "backend": "JobSet",
    "createdAt": "2026-01-01T00:06:25Z",
    "startedAt": "2026-01-01T00:07:00Z",
    "finishedAt": "2026-01-01T00:40:00Z",
    "verdict": "Preempted",
    "message": "Pod calls-train-1-node-0-1-x7k2p on node gpu-b was taken away: a pod of higher priority came.",
    "gpuSeconds": 31680,
    "lostGpuSeconds": 2400,
}


def _condition(kind: str, status: str, reason: str, message: str = "", since: str = "00:42:00") -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": f"2026-01-01T{since}Z",
        "observedGeneration": 1,
    }


def _stage(name: str, state: str = "Pending", **more: Any) -> Json:
    return {"name": name, "type": name.capitalize(), "state": state, "attempts": 0, **more}


def run(status: Json, *, name: str = "calls", namespace: str = "speech", **spec: Any) -> Json:
    """An ASRFinetune with a status, as the API server gives it."""
    return {
        "apiVersion": "asrtune.dev/v1alpha1",
        "kind": "ASRFinetune",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": "11111111-2222-3333-4444-555555555555",
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": copy.deepcopy(_SPEC) | spec,
        "status": status,
    }


RUNNING: Json = {
    "observedGeneration": 1,
    "phase": "Running",
    "stage": "train",
    "conditions": [
        _condition("DataValidated", "True", "DataValid", "Checked: 80089 utterances."),
        _condition("Running", "True", "PodsRunning", "train, attempt 2: 2 pods, 16 GPUs, on gpu-a, gpu-c."),
        _condition("Stalled", "False", "Advancing"),
        _condition("QualityGatePassed", "Unknown", "NotEvaluated", "No test set has been scored yet."),
    ],
    "stages": [
        _PREPARED,
        _stage("train", "Running", attempts=2, interruptions=1, startedAt="2026-01-01T00:07:00Z"),
        _stage("evaluate"),
        _stage("publish"),
    ],
    "attempts": [
        _FIRST,
        {
            "stage": "train",
            "attempt": 2,
            "backend": "JobSet",
            "createdAt": "2026-01-01T00:41:00Z",
            "startedAt": "2026-01-01T00:42:00Z",
            "gpuSeconds": 17280,
        },
    ],
    "progress": {
        "percent": 41,
        "stagePercent": "46.5",
        "step": 4650,
        "totalSteps": 10000,
        "etaSeconds": 5640,
        "eta": "1h34m",
        "loss": "0.31427",
        "utterancesPerSecond": "182.5",
        "checkpointStep": 4500,
        "checkpointAt": "2026-01-01T00:57:00Z",
        "advancedAt": "2026-01-01T00:59:54Z",
    },
    "bestCer": {"percent": "8.31"},
    "usage": {
        "gpuSeconds": 48960,
        "lostGpuSeconds": 2400,
        "lost": [{"reason": "Preempted", "gpuSeconds": 2400}],
        "cost": "34",
    },
    "runSpec": "calls-0123456789",
    "specDigest": "0123",
    "startedAt": "2026-01-01T00:00:20Z",
}
PENDING: Json = {
    "observedGeneration": 1,
    "phase": "Pending",
    "stage": "train",
    "conditions": [
        _condition(
            "Running",
            "False",
            "GpusUnavailable",
            "train waits for 2 nodes with 8 free GPUs each: 1 of 4 nodes has them (gpu-a has 8, gpu-b 6, gpu-c 0).",
        )
    ],
    "stages": [_PREPARED, _stage("train", attempts=1), _stage("evaluate"), _stage("publish")],
    "attempts": [
        _FIRST | {"finishedAt": None, "startedAt": None, "verdict": None, "message": "", "gpuSeconds": 0}
    ],
    "progress": {"percent": 8},
}
FAILED: Json = {
    "observedGeneration": 1,
    "phase": "Failed",
    "stage": "train",
    "conditions": [
        _condition("Running", "False", "Finished", "The run has ended."),
        _condition(
            "Failed",
            "True",
            "OutOfMemory",
            "The GPU ran out of memory in step 12. Lower train.batch.size, or set train.precision to Bf16.",
        ),
    ],
    "stages": [
        _PREPARED,
        _stage(
            "train",
            "Failed",
            attempts=2,
            interruptions=1,
            startedAt="2026-01-01T00:07:00Z",
            finishedAt="2026-01-01T00:45:00Z",
        ),
        _stage("evaluate"),
        _stage("publish"),
    ],
    "attempts": [
        _FIRST,
        {
            "stage": "train",
            "attempt": 2,
            "backend": "JobSet",
            "createdAt": "2026-01-01T00:41:00Z",
            "startedAt": "2026-01-01T00:42:00Z",
            "finishedAt": "2026-01-01T00:45:00Z",
            "verdict": "OutOfMemory",
            "message": "The GPU ran out of memory in step 12.",
            "gpuSeconds": 2880,
            "lostGpuSeconds": 2880,
        },
    ],
    "usage": {
        "gpuSeconds": 34560,
        "lostGpuSeconds": 5280,
        "lost": [{"reason": "Preempted", "gpuSeconds": 2400}, {"reason": "OutOfMemory", "gpuSeconds": 2880}],
    },
    "startedAt": "2026-01-01T00:00:20Z",
    "finishedAt": "2026-01-01T00:45:00Z",
}
SUSPENDED: Json = {
    "observedGeneration": 1,
    "phase": "Suspended",
    "stage": "train",
    "conditions": [
        _condition("Running", "False", "Suspended", "spec.suspend is true."),
        _condition(
            "Suspended",
            "True",
            "Suspended",
            "spec.suspend is true: no pods run, no GPUs are held. Set it to false to go on.",
        ),
    ],
    "stages": [_PREPARED, _stage("train", attempts=1), _stage("evaluate"), _stage("publish")],
    "attempts": [_FIRST | {"verdict": "Suspended", "message": "Suspended.", "lostGpuSeconds": 0}],
    "progress": {"percent": 30, "checkpointStep": 3000},
    "suspendedAt": "2026-01-01T00:40:00Z",
}


def _score(test_set: str, model: str, cer: str, low: str, high: str, **more: Any) -> Json:
    return {"set": test_set, "model": model, "cer": cer, "low": low, "high": high, "utterances": 5000, **more}


_BETTER: Json = {"difference": "-4.21", "differenceLow": "-4.8", "differenceHigh": "-3.6"}
_SAME: Json = {"difference": "0.12", "differenceLow": "-0.1", "differenceHigh": "0.3"}
RESULTS: list[Json] = [
    _score("calls", "base", "12.31", "11.8", "12.9", baseline=True),
    _score("calls", "finetuned", "8.1", "7.7", "8.5", **_BETTER),
    _score("studio", "base", "4.02", "3.8", "4.2", retention=True, baseline=True),
    _score("studio", "finetuned", "4.14", "3.9", "4.4", retention=True, **_SAME),
]
SUCCEEDED: Json = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "stage": "publish",
    "conditions": [
        _condition("Running", "False", "Finished", "The run has ended."),
        _condition("QualityGatePassed", "True", "Passed", "finetuned: all 2 criteria hold."),
        _condition("Complete", "True", "Succeeded", "All stages are done: CER 8.1 % on calls (7.7 to 8.5)."),
    ],
    "stages": [
        _PREPARED,
        _stage(
            "train",
            "Succeeded",
            attempts=1,
            startedAt="2026-01-01T00:07:00Z",
            finishedAt="2026-01-01T00:50:00Z",
            metrics={"steps": "10000", "loss": "0.2871", "cer": "8.05", "bestStep": "9500"},
        ),
        _stage(
            "evaluate",
            "Succeeded",
            attempts=1,
            startedAt="2026-01-01T00:51:00Z",
            finishedAt="2026-01-01T00:54:00Z",
        ),
        _stage("publish", "Skipped", attempts=1, finishedAt="2026-01-01T00:55:00Z"),
    ],
    "progress": {"percent": 100},
    "bestCer": {"percent": "8.1", "low": "7.7", "high": "8.5", "set": "calls"},
    "results": RESULTS,
    "usage": {"gpuSeconds": 41280, "cost": "28.67"},
    "artifacts": {
        "model": "s3://speech/runs/calls/model",
        "report": "s3://speech/runs/calls/report/index.html",
        "ledger": "s3://speech/runs/calls/ledger.json",
    },
    "startedAt": "2026-01-01T00:00:20Z",
    "finishedAt": "2026-01-01T00:55:00Z",
}
STATUSES: dict[str, Json] = {
    "new": {},
    "running": RUNNING,
    "pending": PENDING,
    "failed": FAILED,
    "suspended": SUSPENDED,
    "succeeded": SUCCEEDED,
}


def store(
    api: Client, namespace: str, status: Json, name: str = "calls", kind: str = "ASRFinetune", **spec: Any
) -> Json:
    """Create a run and give it a status, as an operator would."""
    document = run({}, name=name, namespace=namespace, **spec)
    document["metadata"] = {"name": name, "namespace": namespace}
    document["kind"] = kind
    del document["status"]
    if kind == "ASREvaluation":
        document["spec"] = {
            "models": [{"name": "base", "uri": "s3://speech/base"}],
            "testSets": [{"name": "calls", "uri": "s3://speech/test.jsonl"}],
            "output": {"uri": f"s3://speech/evals/{name}"},
        }
    created = api.create(document)
    if status:
        api.patch_status(kind, name, status, namespace)
    return created
