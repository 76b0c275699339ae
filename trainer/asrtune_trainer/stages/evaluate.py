"""Evaluate: decodes the test sets with the base and the fine-tuned model, scores them, and writes the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asrtune_api.stages import EvaluateParams, StageSpec, StageType
from asrtune_trainer.data.cache import AudioCache
from asrtune_trainer.data.utterance import Utterance, read_utterances
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.models.load import load_model
from asrtune_trainer.scoring import CorpusScore, Scoring, score
from asrtune_trainer.scoring.results import ModelName, Results, SetResult, set_result
from asrtune_trainer.stages.base import StageContext, StageResult, need
from asrtune_trainer.stages.decode import decode
from asrtune_trainer.stages.model_input import base_model, model_digest
from asrtune_trainer.storage.atomic import staged_file
from asrtune_trainer.telemetry.events import Note, Scored, Work
from asrtune_trainer.train.checkpoint import load_tensors
from asrtune_trainer.train.gang import detect_device

_REPORTED = (StageType.PREPARE, StageType.SIMULATE, StageType.TRAIN, StageType.AVERAGE)
_TEST = "test/"
_DECODED = "decoded"

Transcripts = Mapping[ModelName, Mapping[str, str]]
"""Model -> utterance key -> hypothesis."""


@dataclass(frozen=True)
class TestSet:
    """A list to decode; its audio lies on this machine."""

    __test__ = False  # not a pytest class

    name: str
    retention: bool
    utterances: Sequence[Utterance]


@dataclass(frozen=True)
class EvaluateStage:
    """Reads the test lists and the last model; everything else that it reads is for the report."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        need(stage, before, StageType.PREPARE)
        return [one.name for one in before if one.type in _REPORTED]

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        retention = sorted(source.name for source in context.run.data.test if source.retention)
        return {"model": model_digest(context), "retention": json.dumps(retention)}

    def run(self, context: StageContext) -> StageResult:
        params = context.params(EvaluateParams)
        sets = _test_sets(context)
        decoded = _decode_all(context, sets, params)
        results = _score_all(context, sets, decoded, params)
        (context.directory / "results.json").write_text(results.to_json(), encoding="utf-8")
        return StageResult(
            outputs={
                "results": "results.json",
                **{f"hypotheses/{one.name}": _hypotheses(one.name) for one in sets},
            },
            metrics=results.metrics(),
            details=json.loads(results.to_json()),
            exclude=[_DECODED],
        )


def _test_sets(context: StageContext) -> list[TestSet]:
    """Prepare's test lists; the validation list where there is none."""
    found: list[TestSet] = []
    retention = {source.name for source in context.run.data.test if source.retention}
    cache = AudioCache(context.scratch, context.stores)
    for finished in context.upstream.values():
        for role in finished.outputs:
            if role.startswith(_TEST):
                name = role.removeprefix(_TEST)
                utterances = cache.localise(list(read_utterances(finished.path(role))))
                found.append(TestSet(name, name in retention, utterances))
    if found:
        return found
    message = (
        "there is no test set: scoring the validation set, which also chose the model and so flatters it"
    )
    context.telemetry.emit(Note(context.stage.name, message, warning=True))
    path = context.latest("validation").path("validation")
    return [TestSet("validation", retention=False, utterances=cache.localise(list(read_utterances(path))))]


def _decode_all(
    context: StageContext, sets: Sequence[TestSet], params: EvaluateParams
) -> dict[str, Transcripts]:
    """Set -> transcripts of each model. One model is in memory at a time."""
    trained = [one for one in context.upstream.values() if "model" in one.outputs]
    names = [ModelName.FINETUNED] if trained else []
    if params.baseline or not trained:
        names.insert(0, ModelName.BASE)
    model = load_model(base_model(context), device=detect_device(), seed=context.run.seed)
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


def _score_all(
    context: StageContext, sets: Sequence[TestSet], decoded: Mapping[str, Transcripts], params: EvaluateParams
) -> Results:
    scoring = Scoring.of(params)
    found: list[SetResult] = []
    for one in sets:
        references = {utterance.key: utterance.target for utterance in one.utterances}
        scores = {name: score(references, texts, scoring) for name, texts in decoded[one.name].items()}
        _write_hypotheses(context.directory / _hypotheses(one.name), references, decoded[one.name], scores)
        result = set_result(
            one.name,
            scores,
            retention=one.retention,
            seconds=sum(utterance.seconds for utterance in one.utterances),
            samples=params.bootstrap_samples,
            seed=context.run.seed,
        )
        _tell(context, result)
        found.append(result)
    return Results(scoring.metric, found, params.bootstrap_samples)


def _write_hypotheses(
    path: Path,
    references: Mapping[str, str],
    decoded: Transcripts,
    scores: Mapping[ModelName, CorpusScore],
) -> None:
    """One line an utterance: key, reference, each model's hypothesis and its edits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for key, reference in references.items():
            line = {
                "key": key,
                "ref": reference,
                **{name.value: texts.get(key) for name, texts in decoded.items()},
                "edits": {name.value: score.utterances[key].edits for name, score in scores.items()},
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
