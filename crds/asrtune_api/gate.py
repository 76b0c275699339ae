"""The quality gate: what a model's error rates must be, and the verdict on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import Field

from asrtune_api.base import ApiModel, Boolean, Decimal, Name, Rule, format_decimal
from asrtune_api.scores import LEAST_UTTERANCES, ErrorMetric, Score, enough, percent

_SHOWN: Final = 5


class GateAction(StrEnum):
    """What happens to a fine-tuning run whose model does not pass."""

    HOLD_PUBLISH = "HoldPublish"
    REPORT = "Report"


class Criterion(ApiModel):
    """A limit on the error rate: absolute, or against the baseline."""

    rules = (
        Rule(
            "set exactly one of maxPercent (an absolute limit) and maxIncreasePercent (a limit against the baseline)",
            "has(self.maxPercent) != has(self.maxIncreasePercent)",
            lambda c: c.says("max_percent") != c.says("max_increase_percent"),
        ),
    )

    set: Name | None = None
    """The test set; unset: every test set that is no retention set."""
    metric: ErrorMetric = ErrorMetric.CER
    """CER, or WER where the scoring unit is Word."""
    max_percent: Decimal | None = Field(None, ge=0, le=1000)
    """The error rate may be this at most, in percent."""
    max_increase_percent: Decimal | None = Field(None, ge=-100, le=1000)
    """The error rate may be this many percentage points above the baseline's; negative: it must be so many below."""
    confident: Boolean = False
    """Judge the worse end of the 95 % interval (for maxIncreasePercent: of the difference, paired by utterance) instead
    of the value itself, so that a small test set cannot pass by luck; with fewer than 20 utterances it never passes."""


class Gate(ApiModel):
    """Criteria that must all hold."""

    criteria: list[Criterion] = Field(min_length=1, max_length=16)
    """What must hold, all of it, of every model that is judged."""


class QualityGate(Gate):
    """What the fine-tuned model must reach."""

    on_failure: GateAction = GateAction.HOLD_PUBLISH
    """HoldPublish: a model that does not pass is not published; Report: the condition says so, and no more."""


class GateReason(StrEnum):
    """Why a gate was passed or not."""

    PASSED = "Passed"
    NOT_EVALUATED = "NotEvaluated"
    ABOVE_MAXIMUM = "AboveMaximum"
    WORSE_THAN_BASELINE = "WorseThanBaseline"
    TOO_FEW_UTTERANCES = "TooFewUtterances"
    SET_MISSING = "SetMissing"
    BASELINE_MISSING = "BaselineMissing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says.

    Attributes:
        passed: None as long as there are no results.
        reason: for the condition.
        message: which criteria failed, with the numbers; for people.
    """

    passed: bool | None
    reason: GateReason
    message: str


_PASSED: Final = "gate/passed"
_REASON: Final = "gate/reason"
_MESSAGE: Final = "gate/message"
_WORDS: Final = {True: "True", False: "False", None: "Unknown"}


def verdict_entries(verdict: Verdict) -> dict[str, str]:
    """Entries for a termination message's results: rows of scores may not all fit into it, the verdict does."""
    return {_PASSED: _WORDS[verdict.passed], _REASON: verdict.reason, _MESSAGE: verdict.message}


def read_verdict(results: Mapping[str, object]) -> Verdict | None:
    """The verdict in a termination message's results, if there is one."""
    passed = {word: value for value, word in _WORDS.items()}
    word, reason = results.get(_PASSED), results.get(_REASON)
    if not isinstance(word, str) or word not in passed or reason not in set(GateReason):
        return None
    return Verdict(passed[word], GateReason(str(reason)), str(results.get(_MESSAGE, "")))


def judge(gate: Gate, scores: Sequence[Score], models: Sequence[str] = ()) -> Verdict:
    """Judge scores by a gate. Pure.

    Args:
        gate: the criteria.
        scores: every test set with every model, the baseline among them.
        models: those that are judged; none: all but the baseline, or the baseline where it is the only one.
    """
    if not scores:
        return Verdict(None, GateReason.NOT_EVALUATED, "No test set has been scored yet.")
    judged = models or _candidates(scores)
    failures = [
        failure
        for criterion in gate.criteria
        for model in judged
        for failure in _failures(criterion, model, scores)
    ]
    if failures:
        shown = [message for _, message in failures[:_SHOWN]]
        more = [f"{len(failures) - _SHOWN} more"] if len(failures) > _SHOWN else []
        return Verdict(passed=False, reason=failures[0][0], message="; ".join([*shown, *more]) + ".")
    count = len(gate.criteria)
    criteria = "the criterion holds" if count == 1 else f"each of the {count} criteria holds"
    return Verdict(passed=True, reason=GateReason.PASSED, message=f"{', '.join(judged)}: {criteria}.")


Failure = tuple[GateReason, str]


def _candidates(scores: Sequence[Score]) -> list[str]:
    names = list(dict.fromkeys(one.model for one in scores if not one.baseline))
    return names or list(dict.fromkeys(one.model for one in scores))


def _failures(criterion: Criterion, model: str, scores: Sequence[Score]) -> Iterator[Failure]:
    """What the criterion finds wrong with a model: nothing where it holds."""
    measured = [one for one in scores if one.metric is criterion.metric]
    if criterion.set is None:
        wanted = dict.fromkeys(one.set for one in measured if not one.retention)
    else:
        wanted = {criterion.set: None}
    if not wanted:
        yield GateReason.SET_MISSING, f"no test set but retention sets was scored by {criterion.metric}"
    for name in wanted:
        score = next((one for one in measured if (one.set, one.model) == (name, model)), None)
        if score is None:
            text = f'{model} was not scored by {criterion.metric} on the test set "{name}"'
            yield GateReason.SET_MISSING, text
        elif (failure := _failure(criterion, score)) is not None:
            yield failure


def _failure(criterion: Criterion, score: Score) -> Failure | None:
    failure = None
    if criterion.max_percent is not None:
        failure = _above(criterion, score, criterion.max_percent)
    if criterion.max_increase_percent is not None:
        failure = _worse(criterion, score, criterion.max_increase_percent)
    return failure or _unsure(criterion, score)


def _unsure(criterion: Criterion, score: Score) -> Failure | None:
    """What a limit that seems to hold does not say: whether there was enough to judge by."""
    if enough(score.utterances) or not (criterion.confident or score.utterances == 0):
        return None
    text = f'{score.model} on "{score.set}": '
    if score.utterances == 0:
        text += "no utterance was scored"
    else:
        are = "utterance is" if score.utterances == 1 else "utterances are"
        text += f"{score.utterances} {are} too few to judge with confidence; {LEAST_UTTERANCES} are the least"
    return GateReason.TOO_FEW_UTTERANCES, text


def _above(criterion: Criterion, score: Score, limit: float) -> Failure | None:
    value = score.high if criterion.confident else score.cer
    if value <= limit:
        return None
    what = f"{_subject(score)} is {percent(score.cer)} %"
    if criterion.confident:
        what += f" (95 % interval {percent(score.low)} to {percent(score.high)} %)"
    return GateReason.ABOVE_MAXIMUM, f"{what}, above the limit of {format_decimal(limit)} %"


def _worse(criterion: Criterion, score: Score, limit: float) -> Failure | None:
    value = score.difference_high if criterion.confident else score.difference
    if value is None or score.difference is None:
        text = f'{score.model} has no baseline to be compared with on "{score.set}"'
        return GateReason.BASELINE_MISSING, text
    if value <= limit:
        return None
    what = f"{_subject(score)} is {percent(score.cer)} %, {_against(score.difference)}"
    if criterion.confident and score.difference_low is not None:
        what += f" (95 % interval {percent(score.difference_low)} to {percent(value)})"
    asked = (
        f"at most {format_decimal(limit)} more" if limit >= 0 else f"at least {format_decimal(-limit)} less"
    )
    return GateReason.WORSE_THAN_BASELINE, f"{what}, where {asked} is asked for"


def _subject(score: Score) -> str:
    return f'{score.model} on "{score.set}": {score.metric}'


def _against(difference: float) -> str:
    side = "above" if difference > 0 else "below"
    return f"{percent(abs(difference))} points {side} the baseline" if difference else "as the baseline"
