"""The verdict on an evaluation in plain words: which model is best, and whether that is certain."""

from __future__ import annotations

from collections.abc import Iterator

from asrtune_trainer.report.words import (
    NOTHING,
    Tone,
    Verdict,
    count,
    fewer,
    percent,
    possible,
    tone,
    unit_of,
)
from asrtune_trainer.scoring.results import Results, SetResult


def compared_verdict(results: Results) -> Verdict:
    """Judge by the first set of the new domain; the other sets are told beside it."""
    decides = results.deciding
    if decides is None:
        return Verdict(Tone.UNCLEAR, NOTHING, ())
    best = decides.best
    rest = [one for one in results.sets if one.utterances and one is not decides]
    more = [*_people(decides, best), *(sentence for one in rest for sentence in _beside(one, best))]
    return Verdict(_tone(decides, best), _headline(decides, best, unit_of(results)), more)


def _tone(one: SetResult, best: str) -> Tone:
    """Worse where every other model is certainly worse than the baseline."""
    if best != one.baseline:
        return tone(one, best)
    tones = {tone(one, model) for model in one.differences}
    return Tone.WORSE if tones == {Tone.WORSE} else Tone.UNCLEAR


def _headline(one: SetResult, best: str, unit: str) -> str:
    rate = percent(one.models[best].rate)
    if len(one.models) == 1:
        return f"On {one.name}, {best} has a {unit} error rate of {rate}; there is no second model to compare it with."
    if one.baseline is None:
        return f"On {one.name}, {best} has the lowest {unit} error rate, {rate}; {_next(one, best)}."
    if best == one.baseline:
        against = f"the baseline {best}, whose {unit} error rate is {rate}"
        return f"On {one.name}, no model beats {against}; {_next(one, best)}."
    baseline = one.models[one.baseline]
    against = f"{rate} against {percent(baseline.rate)} of the baseline {one.baseline}"
    if tone(one, best) is Tone.BETTER:
        return f"On {one.name}, {best} has the lowest {unit} error rate, {against}{fewer(baseline, one.models[best])}."
    return (
        f"On {one.name}, {best} has the lowest {unit} error rate, {against}, but {count(one.utterances, 'utterance')}"
        f" cannot prove a difference: {possible(one, best)}."
    )


def _next(one: SetResult, best: str) -> str:
    others = {name: model for name, model in one.models.items() if name != best}
    second = min(others, key=lambda name: others[name].rate)
    return f"{second} follows with {percent(others[second].rate)}"


def _beside(one: SetResult, best: str) -> Iterator[str]:
    """A further set: how the best model of the deciding set does there, and who is better."""
    where = f"the old domain ({one.name})" if one.retention else one.name
    text = f"On {where}, {best} has {percent(one.models[best].rate)}"
    if one.baseline not in {None, best}:
        text += f", the baseline {percent(one.models[str(one.baseline)].rate)}"
        certain = {
            Tone.BETTER: "certainly better",
            Tone.WORSE: "certainly worse",
            Tone.UNCLEAR: "no certain difference",
        }
        text += f": {certain[tone(one, best)]}"
    if one.best not in {best, one.baseline}:
        text += f"; {one.best} is lowest with {percent(one.models[one.best].rate)}"
    yield f"{text}."
    yield from _people(one, best)


def _people(one: SetResult, best: str) -> Iterator[str]:
    if one.human is not None:
        side = "below" if one.models[best].rate < one.human else "above"
        yield f"People reach {percent(one.human)} on {one.name}: {best} is {side} that."
