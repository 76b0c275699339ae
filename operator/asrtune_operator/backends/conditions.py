"""What all workloads' manifests have in common: metadata and conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asrtune_api.policy import Backend
from asrtune_operator.values.names import ATTEMPT, RUN_SPEC, STAGE
from asrtune_operator.values.observed import Outcome, WorkloadView


@dataclass(frozen=True, slots=True)
class End:
    """How a workload ended; of one that has not, all are empty."""

    outcome: Outcome | None = None
    reason: str = ""
    message: str = ""


def end(manifest: Mapping[str, Any], types: Mapping[str, Outcome]) -> End:
    """The end that the first true condition of these types tells."""
    there = {one["type"]: one for one in manifest.get("status", {}).get("conditions") or ()}
    for kind, outcome in types.items():
        if (found := there.get(kind, {})).get("status") == "True":
            return End(outcome, found.get("reason", ""), found.get("message", ""))
    return End()


def workload_view(
    backend: Backend, manifest: Mapping[str, Any], ended: End, *, suspended: bool, problem: str = ""
) -> WorkloadView:
    """The view of a workload, whatever runs it."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    return WorkloadView(
        backend=backend,
        name=metadata["name"],
        uid=metadata["uid"],
        stage=labels.get(STAGE, ""),
        attempt=number(labels.get(ATTEMPT)) or 0,
        run_spec=labels.get(RUN_SPEC, ""),
        created=time(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        suspended=suspended,
        outcome=ended.outcome,
        reason=ended.reason,
        message=ended.message,
        problem=problem,
    )


def number(text: str | None) -> int | None:
    """The number in a label, which anybody may have written; None where there is none."""
    return int(text) if text is not None and text.isdecimal() else None


def time(text: str) -> datetime:
    """A time as the API server writes it."""
    return datetime.fromisoformat(text)
