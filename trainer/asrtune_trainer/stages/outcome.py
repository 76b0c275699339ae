"""What a run's evaluation says, for the quality gate and the termination message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asrtune_api.gate import Verdict, judge, verdict_entries
from asrtune_api.runspec import RunSpec
from asrtune_api.scores import Score, score_entries
from asrtune_trainer.stages.base import Finished
from asrtune_trainer.stages.manifest import StageManifest

_SCORES = "scores"


def scores_of(stages: Iterable[StageManifest | Finished]) -> list[Score]:
    """What the Evaluate stages among them measured; a later stage's score of the same set and model counts."""
    found: dict[tuple[str, str], Score] = {}
    for stage in stages:
        for row in stage.details.get(_SCORES, ()):
            score = Score.model_validate(row)
            found[score.set, score.model] = score
    return list(found.values())


def gate_verdict(run: RunSpec, scores: list[Score]) -> Verdict | None:
    """What the run's quality gate says; None where it has none."""
    if run.quality_gate is None:
        return None
    return judge(run.quality_gate, scores, run.comparison.judged if run.comparison else ())


def evaluation_entries(run: RunSpec, manifests: Mapping[str, StageManifest]) -> dict[str, str]:
    """Verdict and scores as a termination message carries them."""
    scores = scores_of(manifests.values())
    verdict = gate_verdict(run, scores)
    return {**(verdict_entries(verdict) if verdict else {}), **score_entries(scores)}
