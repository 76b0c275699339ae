"""What an evaluation's status calls the best model."""

from __future__ import annotations

from typing import Any

import pytest

from asrtune_api.evaluation import EvaluationStatus
from asrtune_api.scores import Score
from asrtune_operator.decide.begin import begin
from asrtune_operator.decide.status import status_of
from asrtune_operator.values.observed import Observed
from unit.operator.runs import later, run_of


def score(set_: str, model: str, cer: str, **more: Any) -> Score:
    rates = {"set": set_, "model": model, "cer": cer, "low": "1", "high": "50", "utterances": 300}
    return Score.model_validate({**rates, **more})


OLD = score("studio", "base", "2", retention=True, baseline=True)
CALLS = [score("calls", "base", "12.3", baseline=True), score("calls", "tuned", "8.1")]


@pytest.mark.parametrize(
    ("results", "best"),
    [
        ([], None),
        ([OLD], None),
        ([OLD, *CALLS, score("meetings", "base", "3")], ("tuned", 8.1, "calls")),
        ([CALLS[0], score("calls", "tuned", "13")], ("base", 12.3, "calls")),
    ],
    ids=["nothing measured", "old domain alone", "of the first set", "the baseline"],
)
def test_the_best_model_is_that_of_the_first_set_of_the_new_domain(
    results: list[Score], best: tuple[str, float, str] | None
) -> None:
    run = run_of()
    before = EvaluationStatus(results=results, run_spec=run.spec_name)
    found = status_of(begin(run, before, Observed(), later(1)))
    assert isinstance(found, EvaluationStatus)
    assert (found.best and (found.best.model, found.best.percent, found.best.set)) == best
