"""Average: the mean of the weights of the best checkpoints, which is usually better than each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from asrtune_api.stages import AverageParams, StageSpec, StageType
from asrtune_trainer.stages.base import StageContext, StageResult, need
from asrtune_trainer.storage.atomic import staged_file
from asrtune_trainer.telemetry.events import Work
from asrtune_trainer.train.checkpoint import load_tensors


@dataclass(frozen=True)
class AverageStage:
    """Reads the last Train stage."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        return [need(stage, before, StageType.TRAIN)]

    def inputs(self, _context: StageContext) -> Mapping[str, str]:
        return {}

    def run(self, context: StageContext) -> StageResult:
        trained = next(iter(context.upstream.values()))
        wanted = context.params(AverageParams).best
        paths = [trained.path(role) for role in trained.outputs if role.startswith("checkpoint/")][:wanted]
        total: dict[str, torch.Tensor] = {}
        for place, path in enumerate(paths):
            context.stop.check()
            context.telemetry.emit(Work(context.stage.name, "averaging", place, len(paths), "checkpoints"))
            _add(total, path)
        first = load_tensors(paths[0])
        mean = {
            name: (total[name] / len(paths)).to(value.dtype) if value.is_floating_point() else value
            for name, value in first.items()
        }
        with staged_file(context.directory / "model.pt") as stream:
            torch.save(mean, stream)
        return StageResult(
            outputs={"model": "model.pt"},
            metrics={"checkpoints": float(len(paths))},
            details={"checkpoints": [str(path.relative_to(trained.directory)) for path in paths]},
        )


def _add(total: dict[str, torch.Tensor], path: Path) -> None:
    """Add a checkpoint's weights in float64; counters and other integers are not averaged."""
    for name, value in load_tensors(path).items():
        if value.is_floating_point():
            total[name] = total[name] + value.double() if name in total else value.double()
