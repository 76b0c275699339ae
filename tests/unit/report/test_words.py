"""Verdicts say no more than the intervals do."""

import pytest

from asrtune_trainer.report.words import Tone, duration, percent, points, verdict
from asrtune_trainer.scoring.results import BASE, FINETUNED, Results
from tools.report import set_of

REFERENCES = ["abcdefghij"] * 20
WRONG = ["xbcdefghij"] * 20
WORSE = ["xxxxxfghij"] * 20
MIXED = ["xbcdefghij", "abcdefghij"] * 10
MIXED_OTHERWISE = ["abcdefghij", "abcdefghix"] * 10


def judge(before: list[str], after: list[str]) -> tuple[Tone, str]:
    found = verdict(Results("CER", [set_of("line", {BASE: before, FINETUNED: after}, REFERENCES)], 200))
    return found.tone, found.headline.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_better() -> None:
    tone, headline = judge(WORSE, WRONG)
    assert tone is Tone.BETTER
    assert headline == (
        "On line, fine-tuning cut the character error rate from 50.0 % to 10.0 %: 80 % fewer errors."
    )


def test_nearly_perfect_is_not_called_perfect() -> None:
    references = ["a" * 1000] * 20
    results = Results(
        "CER",
        [set_of("line", {BASE: ["b" * 1000] * 20, FINETUNED: ["a" * 999 + "b"] * 20}, references)],
        200,
    )
    assert "99\N{NARROW NO-BREAK SPACE}% fewer" in verdict(results).headline


def test_worse() -> None:
    tone, headline = judge(WRONG, WORSE)
    assert tone is Tone.WORSE
    assert "made the model worse" in headline


def test_unclear() -> None:
    tone, headline = judge(MIXED, MIXED_OTHERWISE)
    assert tone is Tone.UNCLEAR
    assert "no difference that 20 utterances can prove" in headline
    assert "may be up to" in headline


@pytest.mark.parametrize(("utterances", "said"), [(1, "1 utterance"), (19, "19 utterances")])
def test_few_utterances_prove_nothing(utterances: int, said: str) -> None:
    texts = {BASE: WORSE[:utterances], FINETUNED: WRONG[:utterances]}
    found = verdict(Results("CER", [set_of("line", texts, REFERENCES[:utterances])], 200))
    assert found.tone is Tone.UNCLEAR
    assert found.headline.replace("\N{NARROW NO-BREAK SPACE}", " ") == (
        f"On line, fine-tuning made no difference that {said} can prove: the character error rate was 50.0 % and is"
        " 10.0 %; 20 utterances are the least that can prove one."
    )


def test_no_change_at_all() -> None:
    tone, headline = judge(WRONG, WRONG)
    assert tone is Tone.UNCLEAR
    assert "every utterance has as many errors as before" in headline


def test_the_new_domain_decides_and_the_old_one_is_told() -> None:
    old = set_of("studio", {BASE: WRONG, FINETUNED: WORSE}, REFERENCES, retention=True)
    new = set_of("line", {BASE: WORSE, FINETUNED: WRONG}, REFERENCES)
    found = verdict(Results("WER", [old, new], 200))
    assert found.tone is Tone.BETTER
    assert found.headline.startswith("On line, fine-tuning cut the word error rate")
    assert found.more[0].startswith("On the old domain (studio) it got worse: ")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (1.954, "1.95"), (9.996, "10.0"), (36.41, "36.4"), (240.0, "240.0")]
)
def test_rates_have_the_figures_that_papers_give(value: float, text: str) -> None:
    assert percent(value) == f"{text}\N{NARROW NO-BREAK SPACE}%"


def test_changes_have_a_sign() -> None:
    assert points(-31.26) == "\N{MINUS SIGN}31.3"
    assert points(5.151) == "+5.15"


@pytest.mark.parametrize(("value", "text"), [(0.44, "0.4 s"), (71, "1.2 min"), (7200, "2.0 h")])
def test_durations(value: float, text: str) -> None:
    assert duration(value).replace("\N{NO-BREAK SPACE}", " ") == text
