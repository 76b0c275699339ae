"""Evaluate: decodes the test sets with the base and the fine-tuned model, scores them, and writes the report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asrtune_api.stages import EvaluateParams, StageSpec, StageType
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.models.load import load_model
from asrtune_trainer.report.build import build_report
from asrtune_trainer.scoring import Scoring, score
from asrtune_trainer.scoring.results import ModelName, Results, SetResult, set_result
from asrtune_trainer.stages.base import StageContext, StageResult, need
from asrtune_trainer.stages.decode import decode
from asrtune_trainer.stages.model_input import base_model, model_digest
from asrtune_trainer.stages.report_data import gather
from asrtune_trainer.stages.test_sets import Evaluated, TestSet, Transcripts, read_test_sets
from asrtune_trainer.storage.atomic import staged_file
from asrtune_trainer.telemetry.events import Scored, Work
from asrtune_trainer.train.checkpoint import load_tensors
from asrtune_trainer.train.gang import detect_device

_REPORTED = (StageType.PREPARE, StageType.SIMULATE, StageType.TRAIN, StageType.AVERAGE)
_DECODED = "decoded"
_REPORT = "report/index.html"


@dataclass(frozen=True)
class EvaluateStage:
    """Reads the test lists and the last model; everything else that it reads is for the report."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        need(stage, before, StageType.PREPARE)
        return [one.name for one in before if one.type in _REPORTED]

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        retention = sorted(source.name for source in context.run.data.test if source.retention)
        # The seed is that of the intervals.
        return {
            "model": model_digest(context),
            "retention": json.dumps(retention),
            "seed": str(context.run.seed),
        }

    def run(self, context: StageContext) -> StageResult:
        started = time.monotonic()
        sets = read_test_sets(context)
        model = load_model(base_model(context), device=detect_device(), seed=context.run.seed)
        decoded = _decode_all(context, model, sets)
        evaluated = [_scored(context, one, decoded[one.name]) for one in sets]
        results = _results(context, evaluated)
        document = results.to_json()
        (context.directory / "results.json").write_text(document, encoding="utf-8")
        data = gather(context, results, evaluated, family=model.family, started=started)
        page = context.directory / _REPORT
        page.parent.mkdir(exist_ok=True)
        page.write_text(build_report(data), encoding="utf-8")
        shutil.rmtree(context.directory / _DECODED)
        hypotheses = {f"hypotheses/{one.name}": _hypotheses(one.name) for one in sets}
        return StageResult(
            outputs={"results": "results.json", "report": _REPORT, **hypotheses},
            metrics=results.metrics(),
            details=json.loads(document),
        )


def _decode_all(context: StageContext, model: SpeechModel, sets: Sequence[TestSet]) -> dict[str, Transcripts]:
    """Set -> transcripts of each model. One model is in memory at a time: `model` gets the new weights."""
    trained = [one for one in context.upstream.values() if "model" in one.outputs]
    names = [ModelName.FINETUNED] if trained else []
    if context.params(EvaluateParams).baseline or not trained:
        names.insert(0, ModelName.BASE)
    found: dict[str, dict[ModelName, Mapping[str, str]]] = {one.name: {} for one in sets}
    for part, name in enumerate(names, start=1):
        if name is ModelName.FINETUNED:
            model.module.load_state_dict(load_tensors(trained[-1].path("model")))
        for one, transcripts in _Pass(context, model, name, part, len(names)).over(sets):
            found[one.name][name] = transcripts
    return {name: dict(transcripts) for name, transcripts in found.items()}


@dataclass(frozen=True)
class _Pass:
    """One model over all sets."""

    context: StageContext
    model: SpeechModel
    name: ModelName
    part: int
    parts: int

    def over(self, sets: Sequence[TestSet]) -> Iterator[tuple[TestSet, Mapping[str, str]]]:
        """Decode the sets one by one; what an interrupted attempt decoded is read back."""
        total, before = sum(len(one.utterances) for one in sets), 0
        for one in sets:
            path = self.context.directory / _DECODED / self.name / f"{one.name}.json"
            if not path.exists():
                with staged_file(path) as stream:
                    stream.write(json.dumps(self._decode(one, before, total), ensure_ascii=False).encode())
            before += len(one.utterances)
            yield one, json.loads(path.read_bytes())

    def _decode(self, one: TestSet, before: int, total: int) -> Mapping[str, str]:
        model = "base" if self.name is ModelName.BASE else "fine-tuned"
        stage, what = self.context.stage.name, f"decoding with the {model} model"

        def progress(done: int) -> None:
            work = Work(stage, what, before + done, total, part=self.part, parts=self.parts)
            self.context.telemetry.emit(work)

        seconds = self.context.params(EvaluateParams).batch_seconds
        return decode(
            self.model, one.utterances, batch_seconds=seconds, stop=self.context.stop, progress=progress
        )


def _scored(context: StageContext, one: TestSet, transcripts: Transcripts) -> Evaluated:
    scoring = Scoring.of(context.params(EvaluateParams))
    references = {utterance.key: utterance.target for utterance in one.utterances}
    scores = {name: score(references, texts, scoring) for name, texts in transcripts.items()}
    return Evaluated(one, transcripts, scores)


def _results(context: StageContext, evaluated: Sequence[Evaluated]) -> Results:
    """Add intervals, tell the world, and write each utterance's line."""
    params = context.params(EvaluateParams)
    found: list[SetResult] = []
    for one in evaluated:
        _write_hypotheses(context.directory / _hypotheses(one.set.name), one)
        result = set_result(
            one.set.name,
            one.scores,
            retention=one.set.retention,
            seconds=one.set.seconds,
            samples=params.bootstrap_samples,
            seed=context.run.seed,
        )
        _tell(context, result)
        found.append(result)
    return Results(Scoring.of(params).metric, found, params.bootstrap_samples)


def _write_hypotheses(path: Path, one: Evaluated) -> None:
    """One line an utterance: key, reference, each model's hypothesis and its edits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for utterance in one.set.utterances:
            key = utterance.key
            line = {
                "key": key,
                "ref": utterance.target,
                **{name.value: texts.get(key) for name, texts in one.transcripts.items()},
                "edits": {name.value: score.utterances[key].edits for name, score in one.scores.items()},
            }
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def _tell(context: StageContext, result: SetResult) -> None:
    for name, model in result.models.items():
        event = Scored(
            context.stage.name,
            result.name,
            name.value,
            model.rate,
            model.interval.low,
            model.interval.high,
            result.utterances,
            result.retention,
        )
        context.telemetry.emit(event)


def _hypotheses(name: str) -> str:
    return f"hypotheses/{name}.jsonl"
