"""What `plan` asks for: the closed list of things that the operator does to a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from asrtune_api.status import RunStatus
from asrtune_operator.values.observed import WorkloadView
from asrtune_operator.values.units import Unit


@dataclass(frozen=True, slots=True)
class CreateGang:
    """Make the RunSpec's ConfigMap, and the objects of one attempt at a unit. Applied before the status is written."""

    unit: Unit
    attempt: int


@dataclass(frozen=True, slots=True)
class DeleteWorkload:
    """Delete an attempt, its pods with it: they get SIGTERM and their grace period. After the status is written."""

    workload: WorkloadView
    why: str


Action = CreateGang | DeleteWorkload


class EventType(StrEnum):
    """How bad the news is."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Event:
    """News for `kubectl describe`: one for each change.

    Attributes:
        type: how bad it is.
        reason: what happened, in CamelCase.
        message: the same for people.
        occasion: what sets it apart from other events of the run with the same reason; the same whenever the same
            change is planned anew.
    """

    type: EventType
    reason: str
    message: str
    occasion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done now.

    Attributes:
        actions: in order.
        status: the whole status as it shall be.
        events: news since the status before. Told before the status is written, so that none is lost.
        requeue: seconds after which to look again even if nothing happens; None: only on an event.
    """

    actions: Sequence[Action]
    status: RunStatus
    events: Sequence[Event] = ()
    requeue: float | None = None
