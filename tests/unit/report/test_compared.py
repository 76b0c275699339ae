"""The page and the verdict of an evaluation: any number of models, with or without a baseline."""

import pytest

from asrtune_trainer.report.build import build_report
from asrtune_trainer.report.model import ComparedModel, ReportData, SetExamples
from asrtune_trainer.report.words import Tone, Verdict
from asrtune_trainer.report.words_compared import compared_verdict
from asrtune_trainer.scoring.results import Results, SetResult
from tools.report import Page, example, report_data, set_of

REFERENCES = ["a" * 10] * 20
PERFECT = REFERENCES
GOOD = ["a" * 9 + "b"] * 20
BAD = ["b" * 5 + "a" * 5] * 20
MIXED = ["a" * 9 + "b", "a" * 10] * 10
MIXED_OTHERWISE = ["a" * 10, "a" * 9 + "b", *MIXED[2:]]
NAMES = ["tuned", "base", "step-900"]


def compared(*sets: SetResult, metric: str = "CER") -> Results:
    return Results(metric, list(sets), 200, compared=True)


def judge(*sets: SetResult) -> Verdict:
    found = compared_verdict(compared(*sets))
    plain = [text.replace("\N{NARROW NO-BREAK SPACE}", " ") for text in (found.headline, *found.more)]
    return Verdict(found.tone, plain[0], plain[1:])


def test_a_model_that_is_certainly_better_than_the_baseline() -> None:
    found = judge(set_of("calls", {"base": BAD, "tuned": GOOD, "other": BAD}, REFERENCES, baseline="base"))
    assert found.tone is Tone.BETTER
    assert found.headline == (
        "On calls, tuned has the lowest character error rate, 10.0 % against 50.0 % of the baseline base:"
        " 80 % fewer errors."
    )


def test_a_difference_that_the_set_cannot_prove() -> None:
    found = judge(
        set_of(
            "calls", {"base": MIXED, "tuned": MIXED_OTHERWISE[:1] + MIXED[1:]}, REFERENCES, baseline="base"
        )
    )
    assert found.tone is Tone.UNCLEAR
    assert "but 20 utterances cannot prove a difference: it may be up to" in found.headline


def test_few_utterances_prove_nothing() -> None:
    found = judge(set_of("calls", {"base": BAD[:1], "tuned": GOOD[:1]}, REFERENCES[:1], baseline="base"))
    assert found.tone is Tone.UNCLEAR
    assert found.headline.endswith(
        "but 1 utterance cannot prove a difference: 20 utterances are the least that can prove one."
    )


def test_no_model_beats_the_baseline() -> None:
    texts = {"base": GOOD, "one": BAD, "two": BAD}
    found = judge(set_of("calls", texts, REFERENCES, baseline="base"))
    assert found.tone is Tone.WORSE
    assert found.headline == (
        "On calls, no model beats the baseline base, whose character error rate is 10.0 %; one follows with 50.0 %."
    )


def test_without_a_baseline_nothing_is_claimed() -> None:
    found = judge(set_of("calls", {"one": BAD, "two": GOOD}, REFERENCES, baseline=None))
    assert found.tone is Tone.UNCLEAR
    assert found.headline.endswith(
        "two has the lowest character error rate, 10.0 %; one follows with 50.0 %."
    )


def test_a_single_model() -> None:
    found = judge(set_of("calls", {"only": GOOD}, REFERENCES, baseline=None))
    assert found.headline.endswith(
        "has a character error rate of 10.0 %; there is no second model to compare it with."
    )


def test_other_sets_and_people_stand_beside() -> None:
    calls = set_of("calls", {"base": BAD, "tuned": GOOD}, REFERENCES, baseline="base", human=20.45)
    old = set_of("studio", {"base": PERFECT, "tuned": GOOD}, REFERENCES, baseline="base", retention=True)
    street = set_of("street", {"base": GOOD, "tuned": BAD}, REFERENCES, baseline="base", human=5.0)
    found = judge(old, calls, street)
    assert found.headline.startswith("On calls, tuned"), "a retention set never decides"
    assert found.more == [
        "People reach 20.4 % on calls: tuned is below that.",
        "On the old domain (studio), tuned has 10.0 %, the baseline 0.00 %: certainly worse.",
        "On street, tuned has 50.0 %, the baseline 10.0 %: certainly worse.",
        "People reach 5.00 % on street: tuned is above that.",
    ]


def test_who_is_lowest_elsewhere_is_told() -> None:
    calls = set_of("calls", {"base": BAD, "one": PERFECT, "two": GOOD}, REFERENCES, baseline="base")
    street = set_of("street", {"base": BAD, "one": GOOD, "two": PERFECT}, REFERENCES, baseline="base")
    assert judge(calls, street).more == [
        "On street, one has 10.0 %, the baseline 50.0 %: certainly better; two is lowest with 0.00 %."
    ]


def test_nothing_scored() -> None:
    assert "nothing to judge by" in judge(set_of("calls", {"one": []}, [], baseline=None)).headline


def data(**changes: object) -> ReportData:
    texts = {"base": BAD, "tuned": GOOD, "step-900": MIXED}
    sets = [
        set_of("calls", texts, REFERENCES, baseline="base", human=20.45),
        set_of("studio", texts, REFERENCES, baseline="base", retention=True),
    ]
    heard = {"base": "hal", "tuned": "hello word", "step-900": "helo world"}
    values = {
        "results": compared(*sets),
        "models": [ComparedModel(name, f"s3://bucket/{name}", "ctc") for name in texts],
        "model": "",
        "curves": [],
        "examples": [SetExamples("calls", "tuned", [example("calls/1", "hello world", **heard)])],
    }
    return report_data(**{**values, **changes})


def test_the_page_shows_every_model_with_its_difference() -> None:
    page = Page(build_report(data()))
    for shown in (
        "Evaluation report",
        "3 models on 2 test sets",
        "s3://bucket/step-900",
        "People",
        "20.4",
        "Against",
    ):
        assert shown in " ".join(page.text.split())
    assert "Fine-tuned" not in page.text
    assert "The worst utterances of tuned." in page.text
    assert page.text.count("\N{MINUS SIGN}40.0") >= 2
    assert page.all("rowspan") == ["3", "3"]
    tuned = [value for value in page.all("class") if value.startswith("rate ") and "tuned" in value.split()]
    assert len(tuned) == 4, "every bar but the baselines' and the people's"


@pytest.mark.parametrize("baseline", ["base", None])
def test_a_page_is_whole_whatever_the_baseline(baseline: str | None) -> None:
    one = set_of("calls", {"base": BAD, "tuned": GOOD}, REFERENCES, baseline=baseline)
    page = Page(build_report(data(results=compared(one), examples=[])))
    assert ("Against base, points" in page.text) is (baseline is not None)
    ids = page.all("id")
    assert len(ids) == len(set(ids))


def test_what_people_called_their_models_is_inert() -> None:
    evil = "<script>alert(1)</script>"
    one = set_of(evil, {evil: BAD}, REFERENCES, baseline=None)
    page = Page(
        build_report(data(results=compared(one), models=[ComparedModel(evil, evil, evil)], examples=[]))
    )
    assert page.count("script") == 0
