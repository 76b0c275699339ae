"""What a finished attempt leaves in the status: its stages' states, metrics, scores and places."""

from __future__ import annotations

from typing import Final

from asrtune_api.scores import read_scores
from asrtune_api.status import AttemptStatus, StageState
from asrtune_api.termination import TerminationMessage
from asrtune_operator.draft import Draft
from asrtune_operator.units import Unit

STATE: Final = "state"
MOST_METRICS: Final = 100


def take_results(draft: Draft, unit: Unit, record: AttemptStatus, said: TerminationMessage | None) -> None:
    """Mark a unit's stages as done, with what the leader's termination message says of them.

    A message that was lost (the pod is gone) costs the figures in the status, not the stage: all of it lies at the
    output URI, too.
    """
    results = said.results if said is not None else {}
    for name in unit.stages:
        metrics = {
            key.removeprefix(f"{name}/"): float(value)
            for key, value in results.items()
            if key.startswith(f"{name}/") and isinstance(value, int | float)
        }
        skipped = results.get(f"{name}/{STATE}") == StageState.SKIPPED
        draft.set_stage(
            name,
            state=StageState.SKIPPED if skipped else StageState.SUCCEEDED,
            started_at=draft.stages[name].started_at or record.started_at,
            finished_at=record.finished_at,
            artifact_uri=f"{draft.run.spec.output.rstrip('/')}/stages/{name}",
            metrics=dict(list(metrics.items())[:MOST_METRICS]) or draft.stages[name].metrics,
        )
    if scores := read_scores(results):
        fresh = {(one.set, one.model) for one in scores}
        draft.results = [one for one in draft.results if (one.set, one.model) not in fresh] + scores
