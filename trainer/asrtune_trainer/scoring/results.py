"""What an evaluation found: `results.json`, and what tables, metrics and the report are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from asrtune_trainer.scoring.bootstrap import CONFIDENCE, Difference, Interval, difference, interval
from asrtune_trainer.scoring.corpus import CorpusScore
from asrtune_trainer.scoring.edits import EditCounts


class ModelName(StrEnum):
    """Which model decoded."""

    BASE = "base"
    FINETUNED = "finetuned"


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
    models: Mapping[ModelName, ModelResult]
    difference: Difference | None
    """Base against fine-tuned, where both were scored."""

    @property
    def base(self) -> ModelResult | None:
        return self.models.get(ModelName.BASE)

    @property
    def finetuned(self) -> ModelResult | None:
        return self.models.get(ModelName.FINETUNED)


@dataclass(frozen=True)
class Results:
    """An evaluation."""

    metric: str
    """CER or WER."""
    sets: Sequence[SetResult]
    bootstrap_samples: int

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
        """Numbers for the manifest: `cer/SET/MODEL` with `/low` and `/high`, and `gain/SET`."""
        found: dict[str, float] = {}
        for one in self.sets:
            for model, result in one.models.items():
                name = f"{self.metric.lower()}/{one.name}/{model}"
                found |= {
                    name: result.rate,
                    f"{name}/low": result.interval.low,
                    f"{name}/high": result.interval.high,
                }
            if one.difference is not None:
                found[f"gain/{one.name}"] = one.difference.gain
        return found


def set_result(
    name: str,
    scores: Mapping[ModelName, CorpusScore],
    *,
    retention: bool,
    seconds: float,
    samples: int,
    seed: int,
) -> SetResult:
    """Put a set's scores, intervals and difference together; the scores are of the same references."""
    models = {
        model: ModelResult(
            rate=score.rate,
            interval=interval(score.edits(), score.lengths(), samples=samples, seed=seed),
            counts=score.counts,
            missing=len(score.missing),
        )
        for model, score in scores.items()
    }
    base, finetuned = scores.get(ModelName.BASE), scores.get(ModelName.FINETUNED)
    gain = None
    if base is not None and finetuned is not None:
        gain = difference(base.edits(), finetuned.edits(), base.lengths(), samples=samples, seed=seed)
    return SetResult(
        name=name,
        retention=retention,
        utterances=len(next(iter(scores.values())).utterances),
        seconds=seconds,
        models=models,
        difference=gain,
    )
