"""Transcripts in characters that the model has no tokens for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asrtune_api.errors import DataInvalidError, ExitCode
from asrtune_trainer.data.utterance import Utterance, read_utterances, write_utterances
from asrtune_trainer.models.load import load_model
from asrtune_trainer.telemetry.events import Note
from asrtune_trainer.train.job import TrainJob
from asrtune_trainer.train.vocabulary import SAMPLE, check_vocabulary
from tools.training import Recorder, final_weights, make_job, same, train_here

CPU = torch.device("cpu")


def spell(job: TrainJob, share: float) -> None:
    """Let so many of the training transcripts begin with a character that no tiny model knows."""
    utterances = list(read_utterances(job.train))
    changed = round(share * len(utterances))
    write_utterances(
        job.train,
        [
            replace(one, target="您" + one.target[1:]) if index < changed else one
            for index, one in enumerate(utterances)
        ],
    )


def warnings(recorder: Recorder) -> list[str]:
    return [note.message for note in recorder.of(Note) if note.warning]


def utterance(text: str) -> Utterance:
    return Utterance("set/a", "a.wav", text, 1.0, 100, len(text), "set")


@pytest.mark.parametrize("family", ["ctc", "paraformer", "sensevoice"])
def test_characters_without_a_token_are_warned_of(family: str, tmp_path: Path) -> None:
    job = make_job(tmp_path, family=family, maxSteps=1)
    spell(job, 0.5)
    _, recorder = train_here(job)
    (message,) = warnings(recorder)
    assert re.match(
        r"\d[.\d]* % of the tokens of train are not in the model's vocabulary, such as \"您\"", message
    )
    assert "12 of 24 utterances" in message


def test_nothing_is_said_where_every_character_has_one(tmp_path: Path) -> None:
    assert not warnings(train_here(make_job(tmp_path, maxSteps=1))[1])


def test_a_text_in_another_language_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    write_utterances(job.train, [replace(one, target="您好吗") for one in read_utterances(job.train)])
    with pytest.raises(
        DataInvalidError, match=r'^spec.data.train: 100 % of the tokens .* "您", "好", "吗"'
    ) as told:
        train_here(job)
    assert (told.value.exit_code, told.value.reason) == (ExitCode.DATA_INVALID, "VocabularyMismatch")
    assert "language" in told.value.remedy


def test_looking_changes_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"encoder_conf": {"dropout_rate": 0.1}}  # so that random state matters
    weights = []
    for name in ("looked", "not"):
        (tmp_path / name).mkdir()
        job = make_job(tmp_path / name, model_changes=changes, maxSteps=4)
        spell(job, 0.3)
        if name == "not":
            monkeypatch.setattr("asrtune_trainer.train.setup.check_vocabulary", lambda *_: None)
        weights.append(final_weights(job, train_here(job)[0]))
    assert same(*weights)


def test_a_long_list_is_looked_at_in_part_but_all_over(tmp_path: Path) -> None:
    model = load_model(make_job(tmp_path).model, device=CPU, seed=0)
    known, foreign = [utterance("一二三")] * 4 * SAMPLE, [utterance("您")] * 2 * SAMPLE
    recorder = Recorder()
    check_vocabulary(model, [*known, *foreign], "train", recorder)
    assert "14.3 % of" in warnings(recorder)[0]
    assert f"of {SAMPLE} utterances looked at" in warnings(recorder)[0]


def test_a_rare_character_is_not_worth_a_word(tmp_path: Path) -> None:
    model = load_model(make_job(tmp_path).model, device=CPU, seed=0)
    recorder = Recorder()
    check_vocabulary(model, [utterance("一二三四五六七八九零")] * 100 + [utterance("您")], "train", recorder)
    assert not warnings(recorder)
