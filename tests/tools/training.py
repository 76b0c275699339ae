"""Training jobs over tiny models, for tests of the loop and of its crash safety."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from asrtune_api.finetune import CheckpointPolicy, DataSource, ModelRef, TrainSource
from asrtune_api.runspec import Gang as GangSpec
from asrtune_api.runspec import RunData, RunSpec, RunStorage
from asrtune_api.runspec import Telemetry as TelemetrySpec
from asrtune_api.stages import StageSpec, StageType, TrainParams
from asrtune_trainer.data.utterance import write_utterances
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import Stores
from asrtune_trainer.train.job import TrainJob, TrainSummary
from asrtune_trainer.train.launch import launch
from tools.tiny_models import make_corpus, make_tiny_model

PARAMS: dict[str, Any] = {
    "epochs": 3,
    "learningRate": "0.002",
    "batch": {"size": 600},
    "workers": 0,
    "logEverySteps": 1,
    "validation": {"decodeUtterances": 4},
    "selection": {"keep": 2},
}


class Recorder:
    """Telemetry that remembers."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def emit(self, event: Any) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def make_job(
    root: Path,
    *,
    family: str = "ctc",
    utterances: int = 24,
    processes: int = 1,
    every_steps: int = 500,
    keep_last: int = 2,
    length: tuple[int, int] = (3, 8),
    model_changes: dict[str, Any] | None = None,
    **params: Any,
) -> TrainJob:
    """A job in `root`: model, corpus and lists are made there unless they are there already."""
    model = root / "model"
    if not model.exists():
        make_tiny_model(family, model, **(model_changes or {}))
        corpus = make_corpus(root / "audio", utterances, length=length)
        write_utterances(root / "train.jsonl", corpus)
        write_utterances(root / "validation.jsonl", corpus[:6])
    decided = TrainParams.model_validate({**PARAMS, **params})
    source = {"name": "tiny", "uri": str(root / "train.jsonl")}
    run = RunSpec(
        name="tiny",
        seed=7,
        output=str(root / "out"),
        model=ModelRef(uri=str(model)),
        data=RunData(train=[TrainSource(**source)], validation=[DataSource(**source)]),
        storage=RunStorage(),
        checkpoint=CheckpointPolicy(every_steps=every_steps, keep_last=keep_last),
        gang=GangSpec(processes_per_node=processes),
        telemetry=TelemetrySpec(),
        stages=[StageSpec(name="train", type=StageType.TRAIN, train=decided)],
    )
    directory = root / "stage"
    directory.mkdir(exist_ok=True)
    return TrainJob(
        run=run,
        stage="train",
        params=decided,
        directory=directory,
        scratch=root / "scratch",
        stage_uri=str(directory),
        model=model,
        weights=None,
        train=root / "train.jsonl",
        validation=root / "validation.jsonl",
    )


def train_here(job: TrainJob, stop: StopSignal | None = None) -> tuple[TrainSummary, Recorder]:
    """Train a job to its end, in this process or as its gang says."""
    recorder = Recorder()
    mirror = Mirror(Stores(), job.directory, job.stage_uri)
    return launch(job, recorder, mirror, StopSignal() if stop is None else stop), recorder


def final_weights(job: TrainJob, summary: TrainSummary) -> dict[str, torch.Tensor]:
    """The best checkpoint's weights."""
    weights: dict[str, torch.Tensor] = torch.load(job.directory / summary.checkpoints[0], weights_only=True)
    return weights


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit-identical."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
