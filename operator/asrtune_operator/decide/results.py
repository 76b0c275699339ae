"""What a finished attempt leaves in the status: its stages' states, metrics, scores and places."""

from __future__ import annotations

from typing import Final

from asrtune_api.scores import read_scores
from asrtune_api.status import AttemptStatus, StageState
from asrtune_api.termination import TerminationMessage, metrics_of, state_of
from asrtune_api.uris import stage_uri
from asrtune_operator.decide.draft import Draft
from asrtune_operator.values.units import Unit

MOST_METRICS: Final = 100


def take_results(draft: Draft, unit: Unit, record: AttemptStatus, said: TerminationMessage | None) -> None:
    """Mark a unit's stages as done, with what the leader's termination message says of them.

    A message that was lost (the pod is gone) costs the figures in the status, not the stage: all of it lies at the
    output URI, too.
    """
    results = said.results if said is not None else {}
    for name in unit.stages:
        metrics = metrics_of(results, name)
        draft.set_stage(
            name,
            state=state_of(results, name) or StageState.SUCCEEDED,
            started_at=draft.stages[name].started_at or record.started_at,
            finished_at=record.finished_at,
            artifact_uri=stage_uri(draft.run.spec.output, name),
            metrics=dict(list(metrics.items())[:MOST_METRICS]) or draft.stages[name].metrics,
        )
    if scores := read_scores(results):
        fresh = {(one.set, one.model) for one in scores}
        draft.results = [one for one in draft.results if (one.set, one.model) not in fresh] + scores
