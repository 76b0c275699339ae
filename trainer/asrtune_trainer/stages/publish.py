"""Publish: places the model and the report at the output URI, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from asrtune_api.stages import StageSpec, StageType
from asrtune_trainer.stages.base import StageContext, StageResult, last_of, need
from asrtune_trainer.storage import join_uri

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
        return {"output": context.run.output}

    def run(self, context: StageContext) -> StageResult:
        storage = context.stores.of(context.run.output)
        placed: dict[str, str] = {}
        for name, role, marker in (("model", "directory", MODEL_MARKER), ("report", "report", REPORT_MARKER)):
            source = next((one for one in context.upstream.values() if role in one.outputs), None)
            if source is None:
                continue
            path = source.path(role)
            uri = join_uri(context.run.output, name)
            storage.publish(path if path.is_dir() else path.parent, uri, last=marker)
            placed[name] = uri
        return StageResult(outputs={}, details={"published": placed})
