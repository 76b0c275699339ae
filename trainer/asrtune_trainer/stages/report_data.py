"""Gathers what the report shows from the stages that were run."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from asrtune_api.finetune import ModelRef
from asrtune_api.stages import EvaluateParams
from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.report.audio import BUDGET, AudioBudget
from asrtune_trainer.report.model import (
    ComparedModel,
    Curve,
    Example,
    Hypothesis,
    RejectReason,
    ReportData,
    SetExamples,
    StageTime,
)
from asrtune_trainer.scoring import Scoring, align
from asrtune_trainer.scoring.results import BASE, FINETUNED, Results
from asrtune_trainer.stages.base import Finished, StageContext
from asrtune_trainer.stages.ledger import versions
from asrtune_trainer.stages.manifest import MANIFEST, parse_manifest
from asrtune_trainer.stages.test_sets import Evaluated
from asrtune_trainer.telemetry.wire import read_fields
from asrtune_trainer.train.gang import detect_device

_REJECT_EXAMPLES = 3
_UNITS = 10


def gather(
    context: StageContext,
    results: Results,
    evaluated: Sequence[Evaluated],
    *,
    models: Sequence[ComparedModel],
    started: float,
) -> ReportData:
    """Everything that the report shows.

    Args:
        context: of the Evaluate stage.
        results: its scores.
        evaluated: its sets with their transcripts.
        models: those that were scored.
        started: when the stage began, by the monotonic clock.
    """
    params = context.params(EvaluateParams)
    prepared = next((one for one in context.upstream.values() if "statistics" in one.outputs), None)
    budget = BUDGET // max(1, len(evaluated))
    judged = judged_model(results)
    return ReportData(
        name=context.run.name,
        created=datetime.now(UTC).astimezone(),
        results=results,
        models=models,
        model=model_label(context.run.model) if context.run.model else "",
        examples=[
            worst(one, judged, Scoring.of(params), params.worst_utterances, AudioBudget(budget))
            for one in evaluated
            if params.worst_utterances
        ],
        curves=[curve_of(one) for one in context.upstream.values() if "history" in one.outputs],
        statistics=_read_json(prepared.path("statistics")) if prepared else {},
        rejects=reject_reasons(prepared.path("rejects"))
        if prepared and "rejects" in prepared.outputs
        else [],
        decisions=context.run.decisions,
        versions=versions(),
        device=_device(),
        times=[
            *_times(context),
            StageTime(context.stage.name, context.stage.type, time.monotonic() - started),
        ],
        seed=context.run.seed,
    )


def judged_model(results: Results) -> str:
    """The model whose errors are shown: the best one of an evaluation, else the fine-tuned, or the only one."""
    names = [name for one in results.sets for name in one.models]
    if not results.compared:
        return FINETUNED if FINETUNED in names else BASE
    return results.deciding.best if results.deciding else names[0]


def worst(one: Evaluated, judged: str, scoring: Scoring, number: int, budget: AudioBudget) -> SetExamples:
    """The worst utterances of a model.

    By plain error rate they would be single letters and digits, of which nobody learns anything: `_UNITS` more
    units without an error are counted to each.
    """
    scores = one.scores[judged].utterances

    def badness(utterance: Utterance) -> float:
        counts = scores[utterance.key]
        return counts.edits / (counts.reference_length + _UNITS)

    wrong = [utterance for utterance in one.set.utterances if scores[utterance.key].edits]
    wrong.sort(key=lambda utterance: (-badness(utterance), utterance.key))
    examples = [_example(utterance, one, scoring, budget) for utterance in wrong[:number]]
    return SetExamples(one.set.name, judged, examples)


def reject_reasons(path: Path) -> list[RejectReason]:
    """The rejects by reason, the most frequent first."""
    found: dict[str, list[dict[str, Any]]] = {}
    counts: dict[str, int] = {}
    for line in _lines(path):
        counts[line["reason"]] = counts.get(line["reason"], 0) + 1
        if len(examples := found.setdefault(line["reason"], [])) < _REJECT_EXAMPLES:
            examples.append(line)
    ranked = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return [
        RejectReason(reason, counts[reason], found[reason][0].get("remedy", ""), found[reason])
        for reason in ranked
    ]


def _example(utterance: Utterance, one: Evaluated, scoring: Scoring, budget: AudioBudget) -> Example:
    reference = scoring.tokens(utterance.target)
    return Example(
        key=utterance.key,
        reference=utterance.target,
        hypotheses={
            name: Hypothesis(
                one.scores[name].utterances[utterance.key],
                align(reference, scoring.tokens(texts.get(utterance.key, ""))),
            )
            for name, texts in one.transcripts.items()
        },
        seconds=utterance.seconds,
        clip=budget.clip(utterance.source),
        language=utterance.language,
        speaker=utterance.speaker,
    )


def curve_of(finished: Finished) -> Curve:
    """The course of a training stage, from its history; none of it where that is gone."""
    path = finished.path("history")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    events = [read_fields(line) for line in lines]
    return Curve(
        stage=finished.name,
        steps=[event for event in events if event["event"] == "TrainStep"],
        validations=[event for event in events if event["event"] == "Validated"],
        details=finished.details,
    )


def _times(context: StageContext) -> Iterator[StageTime]:
    for finished in context.upstream.values():
        path = finished.directory / MANIFEST
        manifest = parse_manifest(path.read_bytes()) if path.is_file() else None
        if manifest is not None:
            yield StageTime(finished.name, finished.type, manifest.seconds)


def model_label(model: ModelRef) -> str:
    """The base model as people call it."""
    if model.uri is None:
        return f"{model.hub}{f' at {model.revision}' if model.revision else ''}"
    return model.uri.rstrip("/").rpartition("/")[2]


def _device() -> str:
    device = detect_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSONL file; none where the file is not there."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            yield json.loads(line)


def _read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return document
