"""What is gathered for the report."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asrtune_api.finetune import ModelRef
from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.report.audio import AudioBudget
from asrtune_trainer.report.charts import curve_charts
from asrtune_trainer.scoring import Scoring, score
from asrtune_trainer.scoring.results import BASE, FINETUNED
from asrtune_trainer.stages.base import Finished
from asrtune_trainer.stages.report_data import curve_of, model_label, reject_reasons, worst
from asrtune_trainer.stages.test_sets import Evaluated, TestSet
from asrtune_trainer.telemetry.wire import to_json
from tools.events import train_step


def evaluated(directory: Path, heard: dict[str, str], base: dict[str, str] | None = None) -> Evaluated:
    """Utterances whose reference is "abcd"; those of base that are missing were heard by nobody."""
    soundfile.write(directory / "a.wav", np.zeros(8000), 16000)
    utterances = [
        Utterance(key, str(directory / "a.wav"), "abcd", 0.5, 50, 4, "near", "en", "me") for key in heard
    ]
    references = {one.key: one.target for one in utterances}
    transcripts = {FINETUNED: heard} | ({BASE: base} if base is not None else {})
    scores = {name: score(references, texts) for name, texts in transcripts.items()}
    return Evaluated(TestSet("near", retention=False, utterances=utterances), transcripts, scores)


def test_the_worst_come_first_and_the_right_ones_not_at_all(tmp_path: Path) -> None:
    one = evaluated(tmp_path, {"b": "abcx", "a": "abcx", "right": "ABCD.", "c": "xxxx"})
    found = worst(one, FINETUNED, Scoring(), 10, AudioBudget())
    assert [example.key for example in found.examples] == ["c", "a", "b"]
    assert [example.key for example in worst(one, FINETUNED, Scoring(), 1, AudioBudget()).examples] == ["c"]
    assert found.examples[0].clip.uri.startswith("data:audio/")
    assert found.examples[0].language == "en"


def test_a_garbled_sentence_is_worse_than_a_wrong_letter(tmp_path: Path) -> None:
    one = evaluated(tmp_path, {"letter": "xy", "sentence": "x"})
    texts = {"letter": "a", "sentence": "a long sentence"}
    utterances = [replace(utterance, target=texts[utterance.key]) for utterance in one.set.utterances]
    scores = {FINETUNED: score(texts, one.transcripts[FINETUNED])}
    one = replace(one, set=replace(one.set, utterances=utterances), scores=scores)
    assert scores[FINETUNED].utterances["letter"].rate == 200.0
    assert [example.key for example in worst(one, FINETUNED, Scoring(), 2, AudioBudget()).examples] == [
        "sentence",
        "letter",
    ]


def test_the_base_models_words_stand_beside(tmp_path: Path) -> None:
    one = evaluated(tmp_path, {"a": "abcx"}, base={})
    (example,) = worst(one, FINETUNED, Scoring(), 10, AudioBudget()).examples
    assert example.hypotheses[BASE].counts.deletions == 4
    assert example.hypotheses[FINETUNED].counts.substitutions == 1


def test_audio_that_is_gone_is_no_accident(tmp_path: Path) -> None:
    one = evaluated(tmp_path, {"a": "x"})
    (tmp_path / "a.wav").unlink()
    (example,) = worst(one, FINETUNED, Scoring(), 10, AudioBudget()).examples
    assert example.clip.uri == ""
    assert "not available" in example.clip.absence


def test_the_curve_of_a_training_that_diverged_can_be_drawn(tmp_path: Path) -> None:
    steps = [train_step(step=1), train_step(step=2, loss=float("nan"), gradient_norm=float("inf"))]
    (tmp_path / "history.jsonl").write_text("".join(f"{to_json(step)}\n" for step in steps))
    stage = Finished("train", "Train", tmp_path, {"history": "history.jsonl"}, {}, {"best_step": 1}, "")
    curve = curve_of(stage)
    assert [one["step"] for one in curve.steps] == [1, 2]
    assert math.isnan(curve.steps[1]["loss"])
    assert [chart.title for chart in curve_charts(curve, 0)] == ["Loss", "Accuracy", "Learning rate"]
    (tmp_path / "history.jsonl").unlink()
    assert not curve_of(stage).steps


def test_rejects_are_counted_by_reason(tmp_path: Path) -> None:
    lines = [{"set": "s", "line": line, "reason": "Silent", "remedy": "r"} for line in range(5)]
    lines.insert(0, {"set": "s", "line": 9, "reason": "NotJson", "remedy": "w"})
    (tmp_path / "rejects.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    silent, broken = reject_reasons(tmp_path / "rejects.jsonl")
    assert (silent.reason, silent.count, silent.remedy) == ("Silent", 5, "r")
    assert [line["line"] for line in silent.examples] == [0, 1, 2]
    assert (broken.reason, broken.count) == ("NotJson", 1)
    assert reject_reasons(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("model", "label"),
    [
        (ModelRef(uri="/models/tiny/"), "tiny"),
        (ModelRef(uri="s3://bucket/models/large"), "large"),
        (ModelRef(hub="iic/SenseVoiceSmall"), "iic/SenseVoiceSmall"),
        (ModelRef(hub="iic/SenseVoiceSmall", revision="v1"), "iic/SenseVoiceSmall at v1"),
    ],
)
def test_models_are_called_by_their_names(model: ModelRef, label: str) -> None:
    assert model_label(model) == label
