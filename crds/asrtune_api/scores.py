"""Error rates as a status and a termination message carry them: a row for each test set and model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from pydantic import Field

from asrtune_api.base import ApiModel, Boolean, Decimal, Integer, format_decimal

DIGITS: Final = 2
"""Decimals of every percentage: what is judged is what is shown."""
LEAST_UTTERANCES: Final = 20
"""A test set of fewer proves nothing: its bootstrap intervals are too short.

T. C. Hesterberg: What Teachers Should Know About the Bootstrap, The American Statistician 69 (2015), shows that
percentile intervals are too short in small samples. Where a mean is normal they have 1.96 √((n-1)/n) standard errors
to a side in place of Student's t: 9 % less than they should at 20 utterances, 18 % at 10, 37 % at 5; at 1, nothing.
"""
PREFIX: Final = "score/"
_ABSENT: Final = "-"


class ErrorMetric(StrEnum):
    """What is counted."""

    CER = "CER"
    WER = "WER"


class Score(ApiModel):
    """How one model did on one test set, in percent."""

    set: str = Field(min_length=1, max_length=63)
    """The test set."""
    model: str = Field(min_length=1, max_length=63)
    """The model; base and finetuned in a fine-tuning run."""
    metric: ErrorMetric = ErrorMetric.CER
    """CER counts characters, WER words."""
    cer: Decimal = Field(ge=0)
    """Error rate by that metric."""
    low: Decimal = Field(ge=0)
    """Lower end of its 95 % interval."""
    high: Decimal = Field(ge=0)
    """Upper end of its 95 % interval."""
    difference: Decimal | None = None
    """Error rate minus the baseline's, in percentage points: negative is better. Unset without a baseline."""
    difference_low: Decimal | None = None
    """Lower end of the difference's 95 % interval, paired by utterance."""
    difference_high: Decimal | None = None
    """Upper end of the difference's 95 % interval, paired by utterance."""
    utterances: Integer = Field(ge=0)
    """Utterances in the set."""
    retention: Boolean = False
    """The set measures the old domain."""
    baseline: Boolean = False
    """The model is the one that the others are compared with."""


def enough(utterances: int) -> bool:
    """Whether a test set of so many can prove anything."""
    return utterances >= LEAST_UTTERANCES


def certain(score: Score) -> int:
    """-1 for certainly better than the baseline, 1 for certainly worse, 0 where there is doubt."""
    if score.difference_low is None or score.difference_high is None or not enough(score.utterances):
        return 0
    return -1 if score.difference_high < 0 else 1 if score.difference_low > 0 else 0


def best(scores: Sequence[Score]) -> Score | None:
    """The lowest error rate on the set that decides: the first that is no retention set, else the first."""
    sets = [one.set for one in scores if one.utterances and not one.retention]
    sets += [one.set for one in scores if one.utterances]
    rows = [one for one in scores if sets and one.set == sets[0]]
    return min(rows, key=lambda one: one.cer, default=None)


def percent(value: float) -> str:
    """A percentage as a decimal string with at most two decimals."""
    return format_decimal(round(value, DIGITS) + 0.0)  # + 0.0: no negative zero


def score_entries(scores: Iterable[Score]) -> dict[str, str]:
    """Entries for a termination message's results, one a row and short, since all share 4,096 bytes."""
    return {f"{PREFIX}{one.set}/{one.model}": _line(one) for one in scores}


def read_scores(results: Mapping[str, object]) -> list[Score]:
    """The rows in a termination message's results; what is no row is passed over."""
    rows = (
        _row(name.removeprefix(PREFIX), value)
        for name, value in results.items()
        if name.startswith(PREFIX) and isinstance(value, str)
    )
    return [row for row in rows if row is not None]


def _line(one: Score) -> str:
    numbers = (one.cer, one.low, one.high, one.difference, one.difference_low, one.difference_high)
    texts = [_ABSENT if number is None else percent(number) for number in numbers]
    flags = "r" * one.retention + "b" * one.baseline
    return " ".join([*texts, str(one.utterances), one.metric, *([flags] if flags else [])])


def _row(name: str, line: str) -> Score | None:
    test_set, _, model = name.rpartition("/")
    parts: Sequence[str] = line.split(" ")
    if len(parts) not in {8, 9}:
        return None
    keys = ("cer", "low", "high", "difference", "difference_low", "difference_high")
    values: dict[str, object] = {key: part for key, part in zip(keys, parts, strict=False) if part != _ABSENT}
    flags = parts[8] if parts[8:] else ""
    try:
        return Score.model_validate(
            {
                **values,
                "set": test_set,
                "model": model,
                "utterances": int(parts[6]),
                "metric": parts[7],
                "retention": "r" in flags,
                "baseline": "b" in flags,
            }
        )
    except ValueError:  # pydantic's is one, too
        return None
