"""Rules over several fields of an evaluation: names that must lead somewhere, and what a gate needs."""

from __future__ import annotations

from typing import Any, Final

from asrtune_api.base import Rule
from asrtune_api.scores import ErrorMetric
from asrtune_api.stages import ErrorUnit

MAX_PAIRS: Final = 32
"""Pairs of model and test set: their rows must fit into a termination message of 4,096 bytes."""

_CRITERIA = "!has(self.qualityGate) || self.qualityGate.criteria.all(c, {})"
_UNIT = "(has(self.scoring) && has(self.scoring.unit) && self.scoring.unit == 'Word' ? 'WER' : 'CER')"


def _criteria(spec: Any) -> list[Any]:
    return list(spec.quality_gate.criteria) if spec.quality_gate else []


def _sets(spec: Any) -> set[str] | None:
    """Names of the test sets; None where another object holds them."""
    return None if spec.test_sets is None else {one.name for one in spec.test_sets}


def _knows_sets(spec: Any, names: list[str]) -> bool:
    known = _sets(spec)
    return known is None or known.issuperset(names)


def _metric(spec: Any) -> ErrorMetric:
    return ErrorMetric.WER if spec.scoring.unit is ErrorUnit.WORD else ErrorMetric.CER


EVALUATION_RULES: Final = (
    Rule(
        "set exactly one of testSets and testSetsFrom",
        "has(self.testSets) != has(self.testSetsFrom)",
        lambda s: s.says("test_sets") != s.says("test_sets_from"),
    ),
    Rule(
        "baseline names no model: use the name of one of spec.models",
        "!has(self.baseline) || self.models.exists(m, m.name == self.baseline)",
        lambda s: s.baseline is None or any(m.name == s.baseline for m in s.models),
    ),
    Rule(
        f"at most {MAX_PAIRS} pairs of model and test set, so that all results fit into the status: make two "
        "evaluations of it",
        f"!has(self.testSets) || size(self.models) * size(self.testSets) <= {MAX_PAIRS}",
        lambda s: s.test_sets is None or len(s.models) * len(s.test_sets) <= MAX_PAIRS,
    ),
    Rule(
        "humanReference names no test set: use the name of one of spec.testSets",
        "!has(self.humanReference) || !has(self.testSets) || "
        "self.humanReference.all(h, self.testSets.exists(t, t.name == h.set))",
        lambda s: _knows_sets(s, [one.set for one in s.human_reference]),
    ),
    Rule(
        "qualityGate.models names no model: use names of spec.models",
        "!has(self.qualityGate) || !has(self.qualityGate.models) || "
        "self.qualityGate.models.all(n, self.models.exists(m, m.name == n))",
        lambda s: s.quality_gate is None or {m.name for m in s.models}.issuperset(s.quality_gate.models),
    ),
    Rule(
        "qualityGate.criteria names no test set: use the name of one of spec.testSets",
        "!has(self.testSets) || "
        + _CRITERIA.format("!has(c.set) || self.testSets.exists(t, t.name == c.set)"),
        lambda s: _knows_sets(s, [c.set for c in _criteria(s) if c.set is not None]),
    ),
    Rule(
        "maxIncreasePercent compares with the baseline: set baseline to the name of one of spec.models",
        "has(self.baseline) || " + _CRITERIA.format("!has(c.maxIncreasePercent)"),
        lambda s: s.baseline is not None or all(c.max_increase_percent is None for c in _criteria(s)),
    ),
    Rule(
        "a criterion's metric must be what is scored: WER with scoring.unit Word, else CER",
        _CRITERIA.format(f"(has(c.metric) ? c.metric : 'CER') == {_UNIT}"),
        lambda s: all(c.metric is _metric(s) for c in _criteria(s)),
    ),
    Rule(
        "execution.topology places the pods of a gang relative to each other: an evaluation has one pod",
        "!has(self.execution) || !has(self.execution.topology)",
        lambda s: s.execution.topology is None,
    ),
)
