"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime

from asrtune_api.status import AttemptStatus, StageStatus
from asrtune_operator.decide.progress_status import for_people


def between(start: datetime, end: datetime) -> str:
    """How long it took, such as 1h12m."""
    return for_people(max(0.0, (end - start).total_seconds()))


def ago(then: datetime, now: datetime) -> str:
    """Such as 12m ago."""
    return f"{between(then, now)} ago"


def rate(value: float) -> str:
    """A percentage with two decimals, so that numbers below each other line up."""
    return f"{round(value, 2) + 0.0:.2f}"  # + 0.0: no negative zero


def signed(value: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"+{rate(value)}" if value > 0 else rate(value)


def count(number: int, what: str) -> str:
    """Such as 1 pod, 2 pods."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def took(one: StageStatus | AttemptStatus, now: datetime) -> str:
    """How long a stage or an attempt took, or takes already; empty before its start."""
    return between(one.started_at, one.finished_at or now) if one.started_at is not None else ""
