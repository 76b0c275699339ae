"""Stage contexts for tests of one stage alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asrtune_api.base import ApiModel
from asrtune_api.finetune import CheckpointPolicy, DataSource, ModelRef, TestSource, TrainSource
from asrtune_api.runspec import Gang, RunData, RunSpec, RunStorage, Telemetry
from asrtune_api.stages import StageSpec, StageType
from asrtune_trainer.stages.base import Finished, StageContext, StageResult
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import S3Settings, Stores
from asrtune_trainer.telemetry.events import Event


@dataclass
class Recorder:
    """Telemetry that keeps every event."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)


def stage_context(
    root: Path,
    params: ApiModel,
    data: RunData,
    *,
    upstream: Mapping[str, Finished] | None = None,
    name: str | None = None,
    seed: int = 0,
    s3: S3Settings | None = None,
) -> StageContext:
    """A context whose stage writes below `root`; its telemetry is a `Recorder`."""
    kind = StageType(type(params).__name__.removesuffix("Params"))
    stage = StageSpec.model_validate({"name": name or kind.lower(), "type": kind, kind.lower(): params})
    run = RunSpec(
        name="test",
        seed=seed,
        output=str(root),
        model=ModelRef(uri="model"),
        data=data,
        storage=RunStorage(),
        checkpoint=CheckpointPolicy(),
        gang=Gang(),
        telemetry=Telemetry(),
        stages=[stage],
    )
    directory = root / "stages" / stage.name
    directory.mkdir(parents=True, exist_ok=True)
    stores = Stores(s3)
    return StageContext(
        run=run,
        stage=stage,
        directory=directory,
        uri=str(directory),
        scratch=root / "scratch",
        upstream=upstream or {},
        stores=stores,
        mirror=Mirror(stores, directory, str(directory)),
        telemetry=Recorder(),
        stop=StopSignal(),
    )


def finished(context: StageContext, result: StageResult) -> Finished:
    """A stage's result as later stages see it."""
    return Finished(
        context.stage.name,
        context.stage.type,
        context.directory,
        result.outputs,
        result.metrics,
        result.details,
        "0",
    )


def data_spec(
    train: list[Path | str], validation: Path | str, test: Path | str | None = None, percent: int = 5
) -> RunData:
    """Training lists (named after their files), a validation list and perhaps a test list."""
    return RunData(
        train=[TrainSource(name=Path(path).stem, uri=str(path)) for path in train],
        validation=[DataSource(name="validation", uri=str(validation))],
        test=[TestSource(name="test", uri=str(test))] if test else [],
        max_rejected_percent=percent,
    )


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
