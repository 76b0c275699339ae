"""What an evaluation found: `results.json`, and what tables, metrics and the report are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from asrtune_api.scores import Score, percent
from asrtune_trainer.scoring.bootstrap import CONFIDENCE, Difference, Interval, difference, interval
from asrtune_trainer.scoring.corpus import CorpusScore
from asrtune_trainer.scoring.edits import EditCounts

BASE: Final = "base"
FINETUNED: Final = "finetuned"
"""The models of a fine-tuning run; an evaluation has names of its own."""


@dataclass(frozen=True)
class ModelResult:
    """A set scored with one model."""

    rate: float
    """CER or WER, percent."""
    interval: Interval
    counts: EditCounts
    missing: int
    """Utterances without a hypothesis."""


@dataclass(frozen=True)
class SetResult:
    """A test set scored with each model."""

    name: str
    retention: bool
    """The set measures the old domain."""
    utterances: int
    seconds: float
    """Audio in all."""
    models: Mapping[str, ModelResult]
    baseline: str | None = None
    """The model that the others are compared with."""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    """The baseline against each other model."""
    human: float | None = None
    """What people reach, percent."""

    @property
    def base(self) -> ModelResult | None:
        return self.models.get(BASE)

    @property
    def finetuned(self) -> ModelResult | None:
        return self.models.get(FINETUNED)

    @property
    def best(self) -> str:
        """The model with the lowest rate, the first of several."""
        return min(self.models, key=lambda name: self.models[name].rate)

    @property
    def difference(self) -> Difference | None:
        """Base against fine-tuned, where both were scored."""
        return self.differences.get(FINETUNED)


@dataclass(frozen=True)
class Results:
    """An evaluation."""

    metric: str
    """CER or WER."""
    sets: Sequence[SetResult]
    bootstrap_samples: int
    compared: bool = False
    """Models of an evaluation, rather than a base and what was trained from it."""

    @property
    def deciding(self) -> SetResult | None:
        """The set that says which model is best: the first of the new domain that holds utterances."""
        sets = [one for one in self.sets if one.utterances]
        return next((one for one in sets if not one.retention), sets[0] if sets else None)

    def to_json(self) -> str:
        """The document of `results.json`; rates in percent."""
        document: dict[str, Any] = {
            "metric": self.metric,
            "unit": "percent",
            "confidence": CONFIDENCE,
            "bootstrapSamples": self.bootstrap_samples,
            "sets": [asdict(one) for one in self.sets],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def metrics(self) -> dict[str, float]:
        """Numbers for the manifest: `cer/SET/MODEL` and `difference/SET/MODEL`, each with `/low` and `/high`.

        A difference is the model's rate minus the baseline's: negative is better. Fine-tuning also has `gain/SET`.
        """
        found: dict[str, float] = {}
        for one in self.sets:
            for model, result in one.models.items():
                name = f"{self.metric.lower()}/{one.name}/{model}"
                found |= _with_ends(name, result.rate, result.interval)
            for model, paired in one.differences.items():
                name = f"difference/{one.name}/{model}"
                found |= _with_ends(name, -paired.gain, paired.interval.negated())
            if one.difference is not None:
                found[f"gain/{one.name}"] = one.difference.gain
        return found

    def scores(self) -> list[Score]:
        """The same as a status shows it."""
        return [self._score(one, model) for one in self.sets for model in one.models]

    def _score(self, one: SetResult, model: str) -> Score:
        result, paired = one.models[model], one.differences.get(model)
        values: dict[str, Any] = {
            "set": one.name,
            "model": model,
            "metric": self.metric,
            "cer": percent(result.rate),
            "low": percent(result.interval.low),
            "high": percent(result.interval.high),
            "utterances": one.utterances,
            "retention": one.retention,
            "baseline": model == one.baseline,
        }
        if paired is not None:
            worse = paired.interval.negated()
            values |= {
                "difference": percent(-paired.gain),
                "difference_low": percent(worse.low),
                "difference_high": percent(worse.high),
            }
        return Score.model_validate(values)


def _with_ends(name: str, value: float, ends: Interval) -> dict[str, float]:
    return {name: value, f"{name}/low": ends.low, f"{name}/high": ends.high}


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made."""

    samples: int
    seed: int


def set_result(
    name: str,
    scores: Mapping[str, CorpusScore],
    *,
    bootstrap: Bootstrap,
    seconds: float,
    retention: bool = False,
    baseline: str | None = None,
    human: float | None = None,
) -> SetResult:
    """Put a set's scores, intervals and differences together; the scores are of the same references."""
    how = asdict(bootstrap)
    models = {
        model: ModelResult(
            rate=score.rate,
            interval=interval(score.edits(), score.lengths(), **how),
            counts=score.counts,
            missing=len(score.missing),
        )
        for model, score in scores.items()
    }
    differences = {}
    if baseline is not None:
        first = scores[baseline]
        differences = {
            model: difference(first.edits(), score.edits(), first.lengths(), **how)
            for model, score in scores.items()
            if model != baseline
        }
    return SetResult(
        name=name,
        retention=retention,
        utterances=len(next(iter(scores.values())).utterances),
        seconds=seconds,
        models=models,
        baseline=baseline,
        differences=differences,
        human=human,
    )
