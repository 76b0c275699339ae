"""What a report shows, as plain data: whoever builds it needs neither a run nor a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asrtune_api.runspec import Decision
from asrtune_trainer.scoring import EditCounts, Span
from asrtune_trainer.scoring.results import Results


@dataclass(frozen=True)
class Hypothesis:
    """What a model understood, against the reference."""

    counts: EditCounts
    spans: Sequence[Span]
    """In reading order."""


@dataclass(frozen=True)
class Clip:
    """Audio of an utterance, as a part of the page."""

    uri: str
    """A data: URI; empty where the audio is not embedded."""
    absence: str = ""
    """Why it is not."""


@dataclass(frozen=True)
class Example:
    """An utterance that was understood badly."""

    key: str
    reference: str
    hypotheses: Mapping[str, Hypothesis]
    seconds: float
    clip: Clip
    language: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class SetExamples:
    """The worst utterances of a set, worst first."""

    set: str
    judged: str
    """The model whose errors decide."""
    examples: Sequence[Example]


@dataclass(frozen=True)
class Curve:
    """The course of a training stage."""

    stage: str
    steps: Sequence[Mapping[str, Any]]
    """TrainStep events, by step."""
    validations: Sequence[Mapping[str, Any]]
    """Validated events, by step."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the stage says of itself: steps, best_step, parameters..."""


@dataclass(frozen=True)
class RejectReason:
    """Lines that were rejected for one reason."""

    reason: str
    count: int
    remedy: str
    examples: Sequence[Mapping[str, Any]]
    """The first few: set, line, detail."""


@dataclass(frozen=True)
class StageTime:
    """How long a stage took."""

    name: str
    type: str
    seconds: float


@dataclass(frozen=True)
class ComparedModel:
    """A model whose error rates the report shows."""

    name: str
    """As results call it."""
    label: str
    """What it is, for people: the name itself in a fine-tuning run, else where it lies."""
    family: str


@dataclass(frozen=True)
class ReportData:
    """A report."""

    name: str
    """Name of the run."""
    created: datetime
    results: Results
    models: Sequence[ComparedModel]
    model: str = ""
    """The base model as people call it, hub name or directory; empty in an evaluation."""
    examples: Sequence[SetExamples] = ()
    curves: Sequence[Curve] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """Prepare's statistics.json: sets by label, overlap."""
    rejects: Sequence[RejectReason] = ()
    decisions: Sequence[Decision] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    times: Sequence[StageTime] = ()
    seed: int | None = None

    def called(self, model: str) -> str:
        """What people call a model: in an evaluation by the name that they gave it."""
        labels = {one.name: one.label for one in self.models}
        return model if self.results.compared else labels.get(model, model)
