"""Numbers and verdicts in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from asrtune_api.scores import LEAST_UTTERANCES, enough
from asrtune_trainer.scoring import Interval
from asrtune_trainer.scoring.results import FINETUNED, ModelResult, Results, SetResult

NBSP = "\N{NO-BREAK SPACE}"
THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
NOTHING = "There is nothing to judge by: no test utterance was scored."
_MINUTE, _HOUR = 60, 3600


class Tone(StrEnum):
    """How a result is to be taken."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Verdict:
    """The result in one sentence, and what else must be said."""

    tone: Tone
    headline: str
    more: Sequence[str]


def percent(value: float) -> str:
    """A rate: three significant figures, as papers give them."""
    return f"{_figures(value)}{THIN}%"


def bounds(interval: Interval) -> str:
    """An interval of rates, as in a table whose column says percent."""
    return f"{_figures(interval.low)}\N{EN DASH}{_figures(interval.high)}"


def points(value: float) -> str:
    """A signed change in percentage points."""
    sign = MINUS if value < 0 else "+"
    return f"{sign}{_figures(abs(value))}"


def duration(seconds: float) -> str:
    """A time that people can picture."""
    if seconds < _MINUTE:
        return f"{seconds:.1f}{NBSP}s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.1f}{NBSP}min"
    return f"{seconds / _HOUR:,.1f}{NBSP}h"


def _figures(value: float) -> str:
    return f"{value:.1f}" if round(value, 2) >= 10 else f"{value:.2f}"  # noqa: PLR2004


def verdict(results: Results) -> Verdict:
    """Judge by the sets of the new domain; what became of the old one is said beside it."""
    unit = unit_of(results)
    decides = results.deciding
    if decides is None:
        return Verdict(Tone.UNCLEAR, NOTHING, ())
    rest = [one for one in results.sets if one.utterances and one is not decides]
    return Verdict(tone(decides), _headline(decides, unit), [_beside(one) for one in rest])


def unit_of(results: Results) -> str:
    """What the error rate counts."""
    return "character" if results.metric == "CER" else "word"


def tone(one: SetResult, model: str = FINETUNED) -> Tone:
    """Better or worse only where the 95 % interval of the model's difference leaves no doubt."""
    difference = one.differences.get(model)
    if difference is None or not enough(one.utterances):
        return Tone.UNCLEAR
    if difference.interval.low > 0:
        return Tone.BETTER
    return Tone.WORSE if difference.interval.high < 0 else Tone.UNCLEAR


def _headline(one: SetResult, unit: str) -> str:
    if one.base is None or one.finetuned is None:
        return _single(one, unit)
    before, after = percent(one.base.rate), percent(one.finetuned.rate)
    match tone(one):
        case Tone.BETTER:
            return (
                f"On {one.name}, fine-tuning cut the {unit} error rate from {before} to {after}"
                f"{fewer(one.base, one.finetuned)}."
            )
        case Tone.WORSE:
            return (
                f"On {one.name}, fine-tuning made the model worse:"
                f" the {unit} error rate went from {before} to {after}."
            )
        case _:
            return (
                f"On {one.name}, fine-tuning made no difference that {count(one.utterances, 'utterance')} can prove:"
                f" the {unit} error rate was {before} and is {after}; {possible(one)}."
            )


def _single(one: SetResult, unit: str) -> str:
    (name, result), *_ = one.models.items()
    who = "base" if name == "base" else "fine-tuned"
    return (
        f"On {one.name}, the {who} model has a {unit} error rate of {percent(result.rate)};"
        " there is no second model to compare it with."
    )


def fewer(base: ModelResult, finetuned: ModelResult) -> str:
    """How many errors of the first the second does not make, as the end of a sentence."""
    if finetuned.counts.edits == 0:
        return ": no error is left"
    fewer = min(99.0, 100 * (1 - finetuned.counts.edits / base.counts.edits))
    return f": {fewer:.0f}{THIN}% fewer errors"


def _beside(one: SetResult) -> str:
    """A further set in one sentence."""
    where = f"the old domain ({one.name})" if one.retention else one.name
    if one.base is None or one.finetuned is None:
        result = next(iter(one.models.values()))
        return f"On {where}: {percent(result.rate)}."
    change = f"{percent(one.base.rate)} before, {percent(one.finetuned.rate)} after"
    match tone(one):
        case Tone.BETTER:
            return f"On {where} it got better, too: {change}."
        case Tone.WORSE:
            return f"On {where} it got worse: {change}."
        case _:
            return f"On {where} no change is certain: {change}; {possible(one)}."


def possible(one: SetResult, model: str = FINETUNED) -> str:
    """What the interval of the change leaves open."""
    if not enough(one.utterances):
        return f"{LEAST_UTTERANCES} utterances are the least that can prove one"
    difference = one.differences[model]
    better, worse = difference.interval.high, -difference.interval.low
    if better == worse == 0:
        return "every utterance has as many errors as before"
    return f"it may be up to {_figures(worse)} points worse or {_figures(better)} better"


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
