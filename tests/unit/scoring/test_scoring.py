"""Scores against a naive implementation, and the traps that stock scoring falls into."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asrtune_api.errors import InternalStageError
from asrtune_api.stages import ErrorUnit, EvaluateParams
from asrtune_trainer.scoring import (
    EditCounts,
    Scoring,
    SpanKind,
    align,
    count_edits,
    error_rate,
    score,
)

TEXT = st.text(alphabet="ab c你好。', A\u0301é<|>＜｜＞ǰ", max_size=12)
UNITS = st.lists(st.sampled_from(["a", "b", "你", "word"]), max_size=9)


def naive_distance(reference: list[str], hypothesis: list[str]) -> int:
    """The textbook table, row by row."""
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, 1):
        previous, row = row, [i]
        for j, right in enumerate(hypothesis, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (left != right)))
    return row[-1]


@given(UNITS, UNITS)
def test_edits_are_the_levenshtein_distance(reference: list[str], hypothesis: list[str]) -> None:
    counts = count_edits(reference, hypothesis)
    assert counts.edits == naive_distance(reference, hypothesis)
    assert counts.reference_length == len(reference)
    assert len(reference) - counts.deletions + counts.insertions == len(hypothesis)


@given(TEXT, TEXT, st.sampled_from(list(ErrorUnit)))
def test_alignment_spells_both_texts_and_agrees_with_the_counts(
    left: str, right: str, unit: ErrorUnit
) -> None:
    scoring = Scoring(unit)
    reference, hypothesis = scoring.tokens(left), scoring.tokens(right)
    spans = align(reference, hypothesis)
    assert "".join(span.reference for span in spans) == scoring.clean(left)
    assert "".join(span.hypothesis for span in spans) == scoring.clean(right)
    for span in spans:
        assert (span.kind is SpanKind.INSERTION) == (span.reference == "")
        assert (span.kind is SpanKind.DELETION) == (span.hypothesis == "")
    edits = count_edits(reference.units, hypothesis.units).edits
    assert any(span.kind is not SpanKind.EQUAL for span in spans) == (edits > 0)


@example("c'\u0301", Scoring(ignore_case=False))
@example("＜｜zh｜＞", Scoring(ignore_punctuation=False))
@given(TEXT, st.builds(Scoring, st.sampled_from(list(ErrorUnit)), st.booleans(), st.booleans()))
def test_normalising_twice_changes_nothing(text: str, scoring: Scoring) -> None:
    assert scoring.clean(scoring.clean(text)) == scoring.clean(text)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_corpus_rate_is_edits_over_reference_units(pairs: list[tuple[str, str]]) -> None:
    references = {str(i): left for i, (left, _) in enumerate(pairs)}
    hypotheses = {str(i): right for i, (_, right) in enumerate(pairs)}
    scoring = Scoring()
    edits = sum(
        naive_distance(list(scoring.tokens(left).units), list(scoring.tokens(right).units))
        for left, right in pairs
    )
    length = sum(len(scoring.tokens(left).units) for left, _ in pairs)
    result = score(references, hypotheses, scoring)
    assert result.rate == pytest.approx(100 * edits / max(1, length))
    assert error_rate(list(references.values()), list(hypotheses.values())) == result.rate


def test_a_missing_hypothesis_counts_as_deleted() -> None:
    result = score({"a": "你好", "b": "再见"}, {"a": "你好"})
    assert result.counts == EditCounts(deletions=2, reference_length=4)
    assert result.rate == 50.0
    assert result.missing == ("b",)


def test_a_hypothesis_without_reference_is_our_fault() -> None:
    with pytest.raises(InternalStageError, match="no reference"):
        score({"a": "x"}, {"b": "x"})


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("你好，世界。", "你好世界"),
        ("Hello, World!", "helloworld"),
        ("<|zh|><|NEUTRAL|><|Speech|><|woitn|>你好", "你好"),
        ("ＡＢＣ１２３", "abc123"),
        ("don't", "dont"),
        (unicodedata.normalize("NFD", "café"), "café"),
        ("好😊🎼", "好"),
    ],
)
def test_what_does_not_count_as_an_error(reference: str, hypothesis: str) -> None:
    assert error_rate([reference], [hypothesis]) == 0.0


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("twenty-one don't", ("twenty", "one", "dont")),
        ("我用 iPhone打call", ("我", "用", "iphone", "打", "call")),
        ("カタカナー", tuple("カタカナー")),
        ("안녕 하세요", ("안녕", "하세요")),
        ("", ()),
    ],
)
def test_words(text: str, units: tuple[str, ...]) -> None:
    assert Scoring(ErrorUnit.WORD).tokens(text).units == units


def test_case_and_punctuation_count_when_asked() -> None:
    strict = Scoring.of(EvaluateParams(ignore_case=False, ignore_punctuation=False))
    assert error_rate(["A."], ["a"], strict) == 100.0
    assert error_rate(["A. b"], ["A.b"], strict) == 0.0


def test_an_unknown_token_is_one_wrong_unit() -> None:
    assert score({"a": "你好"}, {"a": "你<unk>"}).counts == EditCounts(substitutions=1, reference_length=2)


def test_an_empty_reference_does_not_hide_what_was_made_up() -> None:
    assert error_rate([""], ["abc"]) == 300.0
    assert error_rate([], []) == 0.0


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError):
        error_rate(["a"], [])


def test_display_keeps_the_spaces_that_the_score_ignores() -> None:
    scoring = Scoring()
    spans = align(scoring.tokens("one two"), scoring.tokens("one too"))
    assert [(span.kind.value, span.reference, span.hypothesis) for span in spans] == [
        ("equal", "one t", "one t"),
        ("substitution", "w", "o"),
        ("equal", "o", "o"),
    ]
