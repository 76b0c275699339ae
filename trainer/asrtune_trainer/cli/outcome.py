"""The last thing a run prints: the table of error rates, the gate's verdict, and where the report is."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from asrtune_api.gate import Verdict
from asrtune_api.runspec import RunSpec
from asrtune_trainer.stages.manifest import StageManifest
from asrtune_trainer.stages.outcome import gate_verdict, scores_of
from asrtune_trainer.telemetry.summary import print_comparison, print_summary

_WORDS = {True: "passed", False: "not passed", None: "not judged"}


def print_outcome(
    console: Console, run: RunSpec, manifests: Mapping[str, StageManifest], *, report: str | None
) -> Verdict | None:
    """Say what came of a run, and return what its quality gate says."""
    scores = scores_of(manifests.values())
    if run.comparison is None:
        print_summary(console, scores, report=report)
    else:
        print_comparison(console, scores, report=report)
    verdict = gate_verdict(run, scores)
    if verdict is not None:
        console.print(
            f"quality gate {_WORDS[verdict.passed]}: {verdict.message}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    return verdict
