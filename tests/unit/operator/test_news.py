"""Events for what is new in a status, and for nothing else."""

from __future__ import annotations

from datetime import timedelta

from asrtune_api.policy import Backend
from asrtune_api.status import AttemptStatus, FinetuneStatus
from asrtune_operator.decide.news import news
from unit.operator.runs import START


def gang(number: int) -> AttemptStatus:
    """One of those that a queue makes of a single attempt."""
    made = START + timedelta(minutes=number)
    return AttemptStatus(
        stage="train",
        attempt=1,
        backend=Backend.JOB,
        created_at=made,
        started_at=made,
        finished_at=made,
        verdict="Preempted",
    )


def test_records_that_move_up_when_the_oldest_go_are_no_news() -> None:
    before = FinetuneStatus(attempts=[gang(number) for number in range(50)])
    new = gang(50).model_copy(update={"started_at": None, "finished_at": None, "verdict": None})
    after = FinetuneStatus(attempts=[*before.attempts[1:], new])
    assert [one.reason for one in news(before, after)] == ["AttemptCreated"]
    assert news(after, after) == []


def test_each_gang_of_an_attempt_has_an_occasion_of_its_own() -> None:
    told = news(FinetuneStatus(), FinetuneStatus(attempts=[gang(0), gang(0), gang(1)]))
    assert len(told) == len({(one.occasion, one.reason) for one in told}) == 9
