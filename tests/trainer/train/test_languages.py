"""Languages in the lists that the model does not know."""

from dataclasses import replace
from pathlib import Path

import pytest

from asrtune_trainer.data.utterance import read_utterances, write_utterances
from asrtune_trainer.telemetry.events import Note
from tools.training import make_job, train_here


def warnings(root: Path, family: str, languages: list[str]) -> list[str]:
    job = make_job(root, family=family, maxSteps=1)
    utterances = list(read_utterances(job.train))
    for index, language in enumerate(languages):
        utterances[index] = replace(utterances[index], language=language)
    write_utterances(job.train, utterances)
    return [note.message for note in train_here(job)[1].of(Note) if note.warning]


def test_a_language_that_the_model_does_not_know_is_warned_of(tmp_path: Path) -> None:
    (message,) = warnings(tmp_path, "sensevoice", ["zh", "de", "fr", "de", ""])
    assert message.startswith(
        '3 utterances of train name a language that the model does not know ("de", "fr")'
    )
    assert message.endswith("it knows en, ja, ko, yue, zh")


@pytest.mark.parametrize(
    ("family", "languages"),
    [("sensevoice", ["zh", "ja", ""]), ("ctc", ["de"]), ("paraformer", ["de"])],
    ids=["known", "ctc", "paraformer"],
)
def test_nothing_is_said_where_it_makes_no_difference(
    family: str, languages: list[str], tmp_path: Path
) -> None:
    assert not warnings(tmp_path, family, languages)
