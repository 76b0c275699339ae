"""Publish: places the model and the report at the output URI, each whole or not at all.

A quality gate that is not passed holds the model back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from asrtune_api.gate import GateAction
from asrtune_api.stages import StageSpec, StageType
from asrtune_trainer.stages.base import StageContext, StageResult, last_of, need
from asrtune_trainer.stages.outcome import gate_verdict, scores_of
from asrtune_trainer.storage import join_uri
from asrtune_trainer.telemetry.events import Note

MODEL_MARKER = ("configuration.json",)
REPORT_MARKER = ("index.html",)


@dataclass(frozen=True)
class PublishStage:
    """Reads the last Export and, where there is one, the last Evaluate."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        evaluate = last_of(before, StageType.EVALUATE)
        return [*([evaluate] if evaluate else []), need(stage, before, StageType.EXPORT)]

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        held = {"gate": "held"} if _held(context) is not None else {}
        return {"output": context.run.output, **held}

    def run(self, context: StageContext) -> StageResult:
        storage = context.stores.of(context.run.output)
        placed: dict[str, str] = {}
        held = _held(context)
        for name, role, marker in (("model", "directory", MODEL_MARKER), ("report", "report", REPORT_MARKER)):
            if name == "model" and held is not None:
                text = f"the model is not published, since it does not pass the quality gate: {held}"
                context.telemetry.emit(Note(context.stage.name, text, warning=True))
                _warn_of_earlier(context)
                continue
            source = next((one for one in context.upstream.values() if role in one.outputs), None)
            if source is None:
                continue
            path = source.path(role)
            uri = join_uri(context.run.output, name)
            storage.publish(path if path.is_dir() else path.parent, uri, last=marker)
            placed[name] = uri
        details = {"published": placed} if held is None else {"published": placed, "held": held}
        return StageResult(outputs={}, details=details)


def _warn_of_earlier(context: StageContext) -> None:
    """What passed once is not taken away: somebody may be using it."""
    uri = join_uri(context.run.output, "model")
    if context.stores.of(uri).stat(join_uri(uri, *MODEL_MARKER)) is not None:
        text = f"{uri} still holds what an earlier run published"
        context.telemetry.emit(Note(context.stage.name, text, warning=True))


def _held(context: StageContext) -> str | None:
    """Why the model must not be published; None where it may."""
    gate = context.run.quality_gate
    if gate is None or gate.on_failure is not GateAction.HOLD_PUBLISH:
        return None
    verdict = gate_verdict(context.run, scores_of(context.upstream.values()))
    assert verdict is not None  # there is a gate
    return None if verdict.passed else verdict.message
