"""A report to look at, made of plain data, and a reader that sees a page as a browser does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from asrtune_api.runspec import Decision, Origin
from asrtune_trainer.report.model import (
    Clip,
    ComparedModel,
    Curve,
    Example,
    Hypothesis,
    RejectReason,
    ReportData,
    SetExamples,
    StageTime,
)
from asrtune_trainer.scoring import Scoring, align, count_edits, score
from asrtune_trainer.scoring.results import BASE, FINETUNED, Bootstrap, Results, SetResult, set_result

SCORING = Scoring()
_VOID = {"meta", "link", "br", "hr", "img", "input", "source", "wbr"}
_INFORMAL = {"path", "use", "rect", "circle", "line", "polyline"}


def set_of(name: str, texts: Mapping[str, list[str]], references: list[str], **changes: Any) -> SetResult:
    """A scored set; texts are by model, in the order of the references."""
    numbered = {str(index): text for index, text in enumerate(references)}
    scores = {
        model: score(numbered, {str(index): text for index, text in enumerate(found)}, SCORING)
        for model, found in texts.items()
    }
    baseline = BASE if BASE in texts else None
    values: dict[str, Any] = {"seconds": 12.5, "bootstrap": Bootstrap(200, 0), "baseline": baseline}
    return set_result(name, scores, **(values | changes))


def example(key: str, reference: str, clip: Clip | None = None, **heard: str) -> Example:
    """An utterance; heard is by model name."""
    hypotheses = {}
    for model, text in heard.items():
        left, right = SCORING.tokens(reference), SCORING.tokens(text)
        hypotheses[model] = Hypothesis(count_edits(left.units, right.units), align(left, right))
    return Example(
        key, reference, hypotheses, 2.5, clip or Clip("", "audio not available: there is no a.wav")
    )


def train_step(step: int, **changes: Any) -> dict[str, Any]:
    """The fields of a log line that curves are made of."""
    return {"step": step, "loss": 10 / step, "accuracy": None, "learning_rate": 1e-4, **changes}


def validated(step: int, **changes: Any) -> dict[str, Any]:
    """A validation."""
    return {"step": step, "epoch": 1, "loss": 5.0, "accuracy": 0.5, "cer": 40.0, "best": True, **changes}


def set_statistics(**changes: Any) -> dict[str, Any]:
    """Statistics of a data source as Prepare writes them."""
    return {
        "lines": 12,
        "blank": 1,
        "rejected": 1,
        "utterances": 10,
        "hours": 0.01,
        "seconds": {"mean": 3.6, "shortest": 0.6, "longest": 11.2, "histogram": {"2": 7, "10": 3}},
        "characters": 120,
        "vocabulary": 26,
        "speakers": 2,
        "sampleRates": {"16000": 9, "8000": 1},
        **changes,
    }


def report_data(**changes: Any) -> ReportData:
    """A small but whole report."""
    references = ["hello world", "good morning", "thank you", "please hold"] * 5
    heard = ["hal wod", "gd mornin", "tan u", "pls"] * 5
    near = set_of("near", {BASE: heard, FINETUNED: references}, references)
    old = set_of("old", {BASE: references, FINETUNED: references}, references, retention=True)
    values: dict[str, Any] = {
        "name": "demo",
        "model": "tiny",
        "models": [ComparedModel(BASE, "base", "ctc"), ComparedModel(FINETUNED, "fine-tuned", "ctc")],
        "created": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "results": Results("CER", [near, old], 200),
        "examples": [
            SetExamples(
                "near", FINETUNED, [example("near/1", "hello world", base="hal", finetuned="hello word")]
            )
        ],
        "curves": [
            Curve("train", [train_step(step) for step in (1, 2, 3)], [validated(3)], {"best_step": 3})
        ],
        "statistics": {"sets": {"train/a": set_statistics()}, "overlap": []},
        "rejects": [
            RejectReason("FileMissing", 4, "Check the path.", [{"set": "train/a", "line": 7, "detail": "x"}])
        ],
        "decisions": [
            Decision(path="model.uri", value="/m", origin=Origin.USER),
            Decision(path="stages.train.epochs", value="10", origin=Origin.DEFAULT, reason="the default"),
        ],
        "versions": {"asrtune": "0.1.0", "torch": "2.8"},
        "device": "CPU",
        "times": [StageTime("train", "Train", 61.0)],
        "seed": 7,
    }
    return ReportData(**(values | changes))


class Page(HTMLParser):
    """Elements, ids, attributes and visible text of a page; fails on elements that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID | _INFORMAL, f"<{tag}/> does not close in HTML"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def all(self, name: str) -> list[str]:
        """Values of an attribute, wherever it stands."""
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]

    def count(self, tag: str) -> int:
        """Number of elements."""
        return sum(name == tag for name, _ in self.elements)
