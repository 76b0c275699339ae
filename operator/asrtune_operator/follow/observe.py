"""From API objects to the plain values of `values/observed.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from asrtune_operator.backends.conditions import number, time
from asrtune_operator.backends.job import INDEX_LABEL as JOB_INDEX
from asrtune_operator.backends.pytorchjob import INDEX_LABEL as PYTORCHJOB_INDEX
from asrtune_operator.render.pods import CONTAINER
from asrtune_operator.values.names import ATTEMPT, GPUS, RUN_SPEC, STAGE
from asrtune_operator.values.observed import ConditionView, ContainerView, PodView

Json = Mapping[str, Any]

RANK_LABELS: Final = (JOB_INDEX, PYTORCHJOB_INDEX)
"""Where the controllers write a pod's rank; JobSet and TrainJob make Jobs. A PyTorchJob of ours has workers alone,
whose index is their rank."""


def pod_view(manifest: Json) -> PodView:
    """A pod as the API server gives it. Labels may have been written by anybody: what is no number counts as absent."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status", {})
    labels = metadata.get("labels") or {}
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        stage=labels.get(STAGE, ""),
        attempt=number(labels.get(ATTEMPT)) or 0,
        run_spec=labels.get(RUN_SPEC, ""),
        rank=next((rank for key in RANK_LABELS if (rank := number(labels.get(key))) is not None), None),
        phase=status.get("phase", "Pending"),
        created=time(metadata["creationTimestamp"]),
        node=spec.get("nodeName", ""),
        ip=status.get("podIP", ""),
        gpus=number((metadata.get("annotations") or {}).get(GPUS)) or 0,
        deleting=_time(metadata.get("deletionTimestamp")),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        conditions=conditions(status.get("conditions")),
        container=_container(status.get("containerStatuses")),
        init_waiting=_init_waiting(status.get("initContainerStatuses")),
        gates=tuple(gate["name"] for gate in spec.get("schedulingGates") or ()),
    )


def conditions(written: Sequence[Json] | None) -> dict[str, ConditionView]:
    """Conditions by their type."""
    return {
        one["type"]: ConditionView(
            status=one["status"],
            reason=one.get("reason", ""),
            message=one.get("message", ""),
            since=_time(one.get("lastTransitionTime")),
        )
        for one in written or ()
    }


def _container(statuses: Sequence[Json] | None) -> ContainerView:
    """The training container; a service mesh may have put others beside it."""
    state = next((one.get("state") or {} for one in statuses or () if one["name"] == CONTAINER), {})
    waiting, running, ended = (state.get(key) or {} for key in ("waiting", "running", "terminated"))
    return ContainerView(
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        started=_time(running.get("startedAt") or ended.get("startedAt")),
        exit_code=ended.get("exitCode"),
        ended_reason=ended.get("reason", ""),
        message=ended.get("message", ""),
        finished=_time(ended.get("finishedAt")),
    )


def _init_waiting(statuses: Sequence[Json] | None) -> str:
    for one in statuses or ():
        state = one.get("state") or {}
        ended = state.get("terminated") or {}
        # Back-off tells what it is backing off from only in the state before.
        if said := state.get("waiting") or (ended if ended.get("exitCode") else {}):
            return f"{said.get('reason', '')}: {said.get('message', '')}".rstrip(": ")
    return ""


def _time(text: str | None) -> datetime | None:
    return time(text) if text else None
