"""Train: fine-tunes the model and leaves the n best checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asrtune_api.stages import StageSpec, StageType, TrainParams
from asrtune_trainer.data.reasons import REMEDIES, Reason
from asrtune_trainer.models.directory import read_directory
from asrtune_trainer.models.load import check_supported
from asrtune_trainer.stages.base import StageContext, StageResult, last_of, need
from asrtune_trainer.stages.local_list import local_list
from asrtune_trainer.stages.model_input import base_model, model_digest
from asrtune_trainer.telemetry.events import Note
from asrtune_trainer.telemetry.lines import utterances as count_of
from asrtune_trainer.train.job import TrainJob, TrainSummary
from asrtune_trainer.train.launch import check_machine, launch


@dataclass(frozen=True)
class TrainStage:
    """Reads the last lists of utterances and the last model; starts from the base where there is none."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        names = [need(stage, before, StageType.PREPARE)]
        optional = (last_of(before, StageType.SIMULATE), last_of(before, StageType.TRAIN, StageType.AVERAGE))
        names.extend(name for name in optional if name is not None)
        return names

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        return {
            "model": model_digest(context),
            "seed": str(context.run.seed),
            "gang": context.run.gang.model_dump_json(),
            "weights": str({one.name: one.weight_percent for one in context.run.data.train}),
        }

    def run(self, context: StageContext) -> StageResult:
        summary = launch(_job(context), context.telemetry, context.mirror, context.stop, context.node)
        _write_rejects(context.directory / "rejects.jsonl", summary)
        if number := len(summary.rejected):
            context.telemetry.emit(
                Note(
                    context.stage.name,
                    f"{count_of(number)} {'is' if number == 1 else 'are'} larger than a batch",
                    warning=True,
                )
            )
        return _result(summary)


def follow(context: StageContext) -> None:
    """Train as one of the nodes that node 0 leads; the result is its own.

    Raises:
        AsrtuneError: as the training says.
        Finished: there is nothing to train any more.
    """
    launch(_job(context), context.telemetry, context.mirror, context.stop, context.node)


def look_ahead(context: StageContext) -> None:
    """What would keep the training from starting, found before the stages that come first take their time.

    Raises:
        SpecInvalidError: this machine lacks the GPUs or the nodes that are asked for, or the base model is not there,
            not a model directory, or of a class that is not trained.
        StorageUnavailableError: the storage or the hub cannot be reached.
    """
    check_machine(context.run.gang, context.node)
    model = check_supported(read_directory(base_model(context)))
    fits = context.run.preset_models
    if fits and model not in fits:
        message = f"the preset was made for {' and '.join(fits)}, and this model is a {model}: its values may not suit"
        context.telemetry.emit(Note(context.stage.name, message, warning=True))


def _job(context: StageContext) -> TrainJob:
    """The training, with all that it reads on this machine."""
    return TrainJob(
        run=context.run,
        stage=context.stage.name,
        params=context.params(TrainParams),
        directory=context.directory,
        scratch=context.scratch,
        stage_uri=context.uri,
        attempt=context.attempt,
        fingerprint=context.fingerprint,
        model=base_model(context),
        weights=_weights(context),
        train=local_list(context, "train"),
        validation=local_list(context, "validation"),
    )


def _weights(context: StageContext) -> Path | None:
    """Weights of an earlier training stage, where there is one."""
    trained = [one for one in context.upstream.values() if "model" in one.outputs]
    return trained[-1].path("model") if trained else None


def _write_rejects(path: Path, summary: TrainSummary) -> None:
    """Utterances that fit into no batch, with the remedy; an empty file where there is none."""
    reason = Reason.LARGER_THAN_BATCH
    lines = [
        json.dumps({"key": key, "reason": reason, "remedy": REMEDIES[reason]}) for key in summary.rejected
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _result(summary: TrainSummary) -> StageResult:
    metrics = {
        "steps": float(summary.steps),
        "skippedSteps": float(summary.skipped_steps),
        "bestStep": float(summary.best_step),
        "loss": summary.best_loss,
        "trainableParameters": float(summary.trainable_parameters),
    }
    if summary.best_accuracy is not None:
        metrics["accuracy"] = summary.best_accuracy
    if summary.best_cer is not None:
        metrics["cer"] = summary.best_cer
    outputs = {"model": summary.checkpoints[0], "history": "history.jsonl", "rejects": "rejects.jsonl"}
    outputs |= {f"checkpoint/{place}": path for place, path in enumerate(summary.checkpoints, start=1)}
    return StageResult(outputs=outputs, metrics=metrics, details=summary.model_dump())
