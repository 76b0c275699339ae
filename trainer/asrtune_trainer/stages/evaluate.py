"""Evaluate: decodes the test sets with each model, scores them, and writes the report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asrtune_api.stages import EvaluateParams, StageSpec, StageType
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.report.build import build_report
from asrtune_trainer.report.model import ComparedModel
from asrtune_trainer.scoring import Scoring, score
from asrtune_trainer.scoring.results import Bootstrap, Results, SetResult, set_result
from asrtune_trainer.stages.base import StageContext, StageResult, need
from asrtune_trainer.stages.contestants import Contestant, baseline_of, contestants_of
from asrtune_trainer.stages.decode import decode
from asrtune_trainer.stages.decoded import Decoded, DecodedCache
from asrtune_trainer.stages.model_input import model_digest
from asrtune_trainer.stages.report_data import gather
from asrtune_trainer.stages.test_sets import Evaluated, TestSet, Transcripts, read_test_sets
from asrtune_trainer.telemetry.events import Scored, Work
from asrtune_trainer.train.gang import detect_device

_REPORTED = (StageType.PREPARE, StageType.SIMULATE, StageType.TRAIN, StageType.AVERAGE)
_REPORT = "report/index.html"


@dataclass(frozen=True)
class EvaluateStage:
    """Reads the test lists and the last model; everything else that it reads is for the report."""

    version: ClassVar[int] = 2

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        need(stage, before, StageType.PREPARE)
        return [one.name for one in before if one.type in _REPORTED]

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        retention = sorted(source.name for source in context.run.data.test if source.retention)
        # The seed is that of the intervals.
        shared = {"retention": json.dumps(retention), "seed": str(context.run.seed)}
        if context.run.comparison is None:
            return {"model": model_digest(context), **shared}
        models = contestants_of(context)
        comparison = context.run.comparison.model_copy(update={"candidates": [], "judged": []})
        return {
            **{f"model/{one.name}": one.digest for one in models},
            "models": json.dumps([(one.name, one.label) for one in models]),
            "comparison": comparison.model_dump_json(),
            **shared,
        }

    def run(self, context: StageContext) -> StageResult:
        started = time.monotonic()
        sets = read_test_sets(context)
        models = contestants_of(context)
        decoded = [
            _Pass(context, one, part, len(models)).over(sets) for part, one in enumerate(models, start=1)
        ]
        evaluated = [
            _scored(
                context,
                test_set,
                {one.name: found[place].transcripts for one, found in zip(models, decoded, strict=True)},
            )
            for place, test_set in enumerate(sets)
        ]
        results = _results(context, evaluated, baseline_of(context, models))
        document = results.to_json()
        (context.directory / "results.json").write_text(document, encoding="utf-8")
        shown = [
            ComparedModel(one.name, one.label, found[0].family if found else "")
            for one, found in zip(models, decoded, strict=True)
        ]
        data = gather(context, results, evaluated, models=shown, started=started)
        page = context.directory / _REPORT
        page.parent.mkdir(exist_ok=True)
        page.write_text(build_report(data), encoding="utf-8")
        hypotheses = {f"hypotheses/{one.name}": _hypotheses(one.name) for one in sets}
        scores = [one.model_dump(mode="json") for one in results.scores()]
        return StageResult(
            outputs={"results": "results.json", "report": _REPORT, **hypotheses},
            metrics=results.metrics(),
            details={**json.loads(document), "scores": scores},
        )


@dataclass(frozen=True)
class _Pass:
    """One model over all sets."""

    context: StageContext
    contestant: Contestant
    part: int
    parts: int

    def over(self, sets: Sequence[TestSet]) -> list[Decoded]:
        """Decode the sets one by one; what was decoded before is read back.

        The model is loaded if it is needed, and is gone from memory when this returns.
        """
        cache = DecodedCache(self.context.stores, self.context.run.output)
        digest = self.contestant.digest
        model: SpeechModel | None = None
        total, before = sum(len(one.utterances) for one in sets), 0
        found = []
        for one in sets:
            decoded = cache.read(digest, one.digest)
            if decoded is None:
                model = model or self.contestant.load(self.context, detect_device())
                decoded = Decoded(model.family, self._decode(model, one, before, total))
                cache.write(digest, one.digest, decoded)
            before += len(one.utterances)
            found.append(decoded)
        return found

    def _decode(self, model: SpeechModel, one: TestSet, before: int, total: int) -> Mapping[str, str]:
        stage, what = self.context.stage.name, f"decoding with {self._called()}"

        def progress(done: int) -> None:
            work = Work(stage, what, before + done, total, part=self.part, parts=self.parts)
            self.context.telemetry.emit(work)

        seconds = self.context.params(EvaluateParams).batch_seconds
        return decode(model, one.utterances, batch_seconds=seconds, stop=self.context.stop, progress=progress)

    def _called(self) -> str:
        name = self.contestant.name
        return f"the {self.contestant.label} model" if self.context.run.comparison is None else name


def _scored(context: StageContext, one: TestSet, transcripts: Transcripts) -> Evaluated:
    scoring = Scoring.of(context.params(EvaluateParams))
    references = {utterance.key: utterance.target for utterance in one.utterances}
    scores = {name: score(references, texts, scoring) for name, texts in transcripts.items()}
    return Evaluated(one, transcripts, scores)


def _results(context: StageContext, evaluated: Sequence[Evaluated], baseline: str | None) -> Results:
    """Add intervals, tell the world, and write each utterance's line."""
    params = context.params(EvaluateParams)
    comparison = context.run.comparison
    human = {one.set: one.percent for one in comparison.human} if comparison else {}
    found: list[SetResult] = []
    for one in evaluated:
        _write_hypotheses(context.directory / _hypotheses(one.set.name), one)
        result = set_result(
            one.set.name,
            one.scores,
            bootstrap=Bootstrap(params.bootstrap_samples, context.run.seed),
            seconds=one.set.seconds,
            retention=one.set.retention,
            baseline=baseline,
            human=human.get(one.set.name),
        )
        _tell(context, result)
        found.append(result)
    return Results(
        Scoring.of(params).metric, found, params.bootstrap_samples, compared=comparison is not None
    )


def _write_hypotheses(path: Path, one: Evaluated) -> None:
    """One line an utterance: key, reference, each model's hypothesis and its edits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for utterance in one.set.utterances:
            key = utterance.key
            line = {
                "key": key,
                "ref": utterance.target,
                **{name: texts.get(key) for name, texts in one.transcripts.items()},
                "edits": {name: score.utterances[key].edits for name, score in one.scores.items()},
            }
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def _tell(context: StageContext, result: SetResult) -> None:
    for name, model in result.models.items():
        event = Scored(
            context.stage.name,
            result.name,
            name,
            model.rate,
            model.interval.low,
            model.interval.high,
            result.utterances,
            result.retention,
            Scoring.of(context.params(EvaluateParams)).metric,
        )
        context.telemetry.emit(event)


def _hypotheses(name: str) -> str:
    return f"hypotheses/{name}.jsonl"
