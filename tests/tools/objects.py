"""Objects as the API server gives them, for tests without one."""

from __future__ import annotations

from typing import Any

from asrtune_operator.values.names import ATTEMPT, KIND, RUN, RUN_UID, STAGE


def metadata(name: str, uid: str, version: int, namespace: str = "speech", **more: Any) -> dict[str, Any]:
    """Metadata of an object."""
    return {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": "2025-01-01T00:00:00Z",
        **more,
    }


def custom_resource(
    spec: dict[str, Any],
    *,
    name: str = "demo",
    uid: str = "run-1",
    version: int = 1,
    kind: str = "ASRFinetune",
    status: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An ASRFinetune or ASREvaluation."""
    return {
        "kind": kind,
        "metadata": metadata(name, uid, version, **more),
        "spec": spec,
        "status": status or {},
    }


def labels(run: str, run_uid: str, stage: str = "train", attempt: int = 1) -> dict[str, str]:
    """Labels of a run's child."""
    return {KIND: "ASRFinetune", RUN: run, RUN_UID: run_uid, STAGE: stage, ATTEMPT: str(attempt)}


def job(
    run_uid: str, *, uid: str = "job-1", version: int = 1, run: str = "demo", namespace: str = "speech"
) -> Any:
    """A Job."""
    own = metadata(f"{run}-train-1", uid, version, namespace, labels=labels(run, run_uid))
    return {"kind": "Job", "metadata": own, "spec": {}, "status": {}}


def pod(
    run_uid: str,
    *,
    uid: str = "pod-1",
    version: int = 1,
    phase: str = "Running",
    run: str = "demo",
    namespace: str = "speech",
) -> Any:
    """A pod."""
    own = metadata(f"{run}-train-1-0", uid, version, namespace, labels=labels(run, run_uid))
    return {"kind": "Pod", "metadata": own, "spec": {}, "status": {"phase": phase}}
