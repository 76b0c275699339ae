"""The page: whole, closed, harmless, whatever the data."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.runspec import Decision, Origin
from asrtune_trainer.report.build import SHOWN_CHARACTERS, SHOWN_EXAMPLES, build_report, marked, scale, share
from asrtune_trainer.report.model import Clip, ComparedModel, Curve, RejectReason, SetExamples, StageTime
from asrtune_trainer.scoring import Scoring, align
from asrtune_trainer.scoring.results import BASE, FINETUNED, Results
from tools.report import (
    Page,
    example,
    report_data,
    set_of,
    set_statistics,
    train_step,
    validated,
)

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>{{ 1234 * 7 }}"
EMPTY = Results("CER", [], 100)


def page_of(**changes: object) -> Page:
    return Page(build_report(report_data(**changes)))


def test_structure() -> None:
    html = build_report(report_data())
    page = Page(html)
    headings = re.findall(r"<h([1-3])[^>]*>(.*?)</h\1>", html)
    assert headings == [
        ("1", "demo"),
        ("2", "Results"),
        ("2", "Training"),
        ("2", "Where it still errs"),
        ("3", "near"),
        ("2", "Data"),
        ("3", "Rejected lines"),
        ("2", "How it was made"),
        ("3", "Time by stage"),
        ("3", "Versions"),
        ("3", "Resolved spec"),
    ]
    for landmark in ("header", "nav", "main", "footer"):
        assert landmark in {tag for tag, _ in page.elements}
    assert "cut the character error rate" in page.text
    assert "stages.train.epochs" in page.text
    assert "the default" in page.text


def test_one_file_without_scripts_or_network() -> None:
    page = page_of()
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert page.count("script") == 0
    for target in page.all("href") + page.all("xlink:href") + page.all("src"):
        assert target.startswith(("#", "data:")), target
        assert not target.startswith("#") or target[1:] in ids
    policy = next(value for value in page.all("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "url(http" not in build_report(report_data())
    assert "@import" not in build_report(report_data())


def test_whatever_people_wrote_is_inert() -> None:
    line = {"set": EVIL, "line": 1, "detail": EVIL}
    data = report_data(
        name=EVIL,
        model=EVIL,
        models=[ComparedModel(BASE, EVIL, EVIL), ComparedModel(FINETUNED, EVIL, EVIL)],
        results=Results("CER", [set_of(EVIL, {BASE: ["x"], FINETUNED: ["y"]}, [EVIL])], 100),
        examples=[
            SetExamples(EVIL, FINETUNED, [example(EVIL, EVIL, Clip("", EVIL), base=EVIL, finetuned="scr")])
        ],
        curves=[Curve(EVIL, [train_step(1)], [validated(1)]), Curve(EVIL, [train_step(1)], [])],
        statistics={
            "sets": {EVIL: set_statistics()},
            "overlap": [
                {"shared": "audio", "heldOut": EVIL, "repeatedIn": EVIL, "utterances": 3},
                {"shared": "text", "heldOut": EVIL, "repeatedIn": EVIL, "utterances": 3},
            ],
        },
        rejects=[RejectReason(EVIL, 1, EVIL, [line])],
        decisions=[Decision(path=EVIL, value=EVIL, origin=Origin.USER, reason=EVIL)],
        versions={EVIL: EVIL, "asrtune": EVIL},
        device=EVIL,
        times=[StageTime(EVIL, "Train", 1.0)],
    )
    evil = replace(data.examples[0].examples[0], language=EVIL, speaker=EVIL)
    page = Page(build_report(replace(data, examples=[SetExamples(EVIL, FINETUNED, [evil])])))
    assert page.count("script") == page.count("img") == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count(EVIL) > 15
    assert "8638" not in page.text


@pytest.mark.parametrize(
    "results", [EMPTY, Results("WER", [set_of("near", {BASE: [], FINETUNED: []}, [])], 100)]
)
def test_nothing_scored(results: Results) -> None:
    page = page_of(
        results=results,
        examples=[],
        curves=[],
        statistics={},
        rejects=[],
        decisions=[],
        versions={},
        times=[],
    )
    assert "no test utterance was scored" in page.text
    assert page.count("audio") == 0


def test_perfect_score() -> None:
    texts = ["one", "two"] * 10
    results = Results("CER", [set_of("near", {BASE: ["on", "to"] * 10, FINETUNED: texts}, texts)], 100)
    page = page_of(results=results, examples=[SetExamples("near", FINETUNED, [])])
    assert "no error is left" in page.text
    assert "No utterance of this set has an error." in page.text


def test_only_one_model() -> None:
    results = Results("CER", [set_of("near", {BASE: ["on"]}, ["one"])], 100)
    page = page_of(results=results)
    assert "not scored" in page.text
    assert "no second model" in page.text


def test_an_enormous_transcript_is_cut_and_counted() -> None:
    text = "a" * 300_000
    worst = SetExamples("near", FINETUNED, [example("k", text, base="b" * 1000, finetuned="")])
    html = build_report(report_data(examples=[worst]))
    assert len(html) < 300_000
    assert f"({300_000 - SHOWN_CHARACTERS:,} more characters)" in html


@pytest.mark.parametrize(
    "curve",
    [
        Curve("train", [], []),
        Curve("train", [train_step(1)], []),
        Curve("train", [], [validated(1, accuracy=None, cer=None)]),
        Curve("train", [train_step(1, loss=float("nan")), train_step(2, loss=float("inf"))], [validated(2)]),
        Curve(
            "train",
            [train_step(1, accuracy=0.5)],
            [validated(1, loss=float("nan"))],
            {"best_step": 1, "steps": 1},
        ),
    ],
)
def test_curves_that_miss_something(curve: Curve) -> None:
    page = page_of(curves=[curve])
    assert page.count("main") == 1


def test_no_curves() -> None:
    page = page_of(curves=[])
    assert "#training" not in page.all("href")


def test_more_examples_wait_behind_a_click() -> None:
    many = [
        example(f"near/{index}", "one", base="two", finetuned="on") for index in range(SHOWN_EXAMPLES + 3)
    ]
    page = page_of(examples=[SetExamples("near", FINETUNED, many)])
    assert "3 more of near" in page.text
    assert page.count("article") == SHOWN_EXAMPLES + 3


def test_audio_is_labelled() -> None:
    heard = example("near/1", "one", Clip("data:audio/mpeg;base64,AAAA"), base="on")
    page = page_of(examples=[SetExamples("near", BASE, [heard])])
    (audio,) = [attributes for tag, attributes in page.elements if tag == "audio"]
    assert "controls" in audio
    assert audio["aria-label"] == "Audio of near/1"


@given(st.text("ab 你<&", max_size=30), st.text("ab 你<&", max_size=30))
def test_marks_hold_what_was_heard_and_what_was_lost(reference: str, hypothesis: str) -> None:
    scoring = Scoring(ignore_punctuation=False)
    left, right = scoring.tokens(reference), scoring.tokens(hypothesis)
    html = str(marked(align(left, right)))
    heard = Page(re.sub(r"<del.*?</del>|<rp>.*?</rp>|<rt>.*?</rt>", "", html)).text
    assert "".join(heard.split()) == "".join(right.units)
    said = Page(re.sub(r"<ins.*?</ins>|<mark>.*?</mark>|<rp>.*?</rp>", "", html)).text
    assert "".join(said.split()) == "".join(left.units)


@pytest.mark.parametrize(
    ("highest", "end"), [(0.0, 1.0), (0.7, 0.8), (84.9, 100.0), (100.0, 100.0), (240.0, 300.0)]
)
def test_the_axis_ends_at_a_round_number(highest: float, end: float) -> None:
    if highest == 0:
        assert scale(EMPTY) == end
        return
    length = 1000
    wrong = round(highest * length / 100)
    result = set_of("near", {BASE: ["b" * wrong + "a" * (length - wrong)]}, ["a" * length])
    assert scale(Results("CER", [result], 100)) == pytest.approx(end)


def test_shares_stay_on_the_axis() -> None:
    assert [share(value, 50) for value in (-1, 25, 80)] == ["0.00%", "50.00%", "100.00%"]
    assert share(1, 0) == "0.00%"


def test_the_same_data_gives_the_same_page() -> None:
    assert build_report(report_data()) == build_report(report_data())


def test_charts_take_their_colours_from_the_page() -> None:
    html = build_report(report_data())
    drawings = re.findall(r"<svg role.*?</svg>", html, re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert not re.findall(r"#[0-9a-fA-F]{6}\b", drawing)
        assert "var(--series-" in drawing
        assert "DejaVu" not in drawing
