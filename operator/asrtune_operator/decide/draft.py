"""A status under way: what `plan` works on, from the last status and what is observed to the next status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from asrtune_api.scores import Score
from asrtune_api.status import AttemptStatus, Progress, RunStatus, StageState, StageStatus
from asrtune_operator.decide.verdict import Verdict, taken_away
from asrtune_operator.values.actions import Action, DeleteWorkload
from asrtune_operator.values.observed import Observed, PodView, Wait, WorkloadView
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

DONE = frozenset({StageState.SUCCEEDED, StageState.SKIPPED})
KEPT_ATTEMPTS = 50


@dataclass
class Draft:
    """The working copy. Local to one call of `plan`: nobody else sees it."""

    run: Run
    before: RunStatus
    observed: Observed
    now: datetime
    stages: dict[str, StageStatus]
    attempts: list[AttemptStatus]
    progress: Progress | None
    results: list[Score]
    started_at: datetime | None
    finished_at: datetime | None
    suspended_at: datetime | None
    paused_seconds: int
    actions: list[Action] = field(default_factory=list)
    wait: Wait | None = None
    """Why it waits; None while a whole gang runs, or nothing is to be run."""
    failure: tuple[Verdict, str] | None = None
    """Verdict and message of a run that has failed."""
    complete: bool = False
    running: Unit | None = None
    """The unit whose whole gang runs."""
    current: Unit | None = None
    """The unit that is next or under way."""
    wake: datetime | None = None
    """When to look again at the latest."""

    def attempt_of(self, unit: Unit) -> int:
        """Number of the unit's newest attempt; 0: there was none.

        What is observed counts as well as the status: a lost status must not make a number be used twice.
        """
        numbers = [one.attempt for one in self.children() if one.stage == unit.key]
        return max([self.stages[unit.key].attempts, *numbers])

    def succeeded(self, workload: WorkloadView) -> bool:
        """Whether all its pods ended well; its controller may not have noticed yet."""
        of_it = (workload.stage, workload.attempt)
        return any(
            (one.stage, one.attempt) == of_it and one.verdict == Verdict.SUCCEEDED for one in self.attempts
        )

    def children(self) -> list[PodView | WorkloadView]:
        """All that is observed."""
        return [*self.observed.workloads, *self.observed.pods]

    def record_of(self, unit: Unit) -> AttemptStatus | None:
        """The unit's newest record."""
        return next((one for one in reversed(self.attempts) if one.stage == unit.key), None)

    def replace_record(self, old: AttemptStatus, new: AttemptStatus) -> None:
        """Put a changed record where the old one was."""
        index = next(i for i in range(len(self.attempts) - 1, -1, -1) if self.attempts[i] is old)
        self.attempts[index] = new

    def add_record(self, record: AttemptStatus) -> None:
        """Put a new record at the end; the oldest go."""
        self.attempts = [*self.attempts, record][-KEPT_ATTEMPTS:]

    def set_stage(self, name: str, **values: object) -> None:
        """Change a stage's status."""
        self.stages[name] = self.stages[name].model_copy(update=values)

    def workload(self, unit: Unit, attempt: int) -> WorkloadView | None:
        """The workload of an attempt."""
        return next(
            (one for one in self.observed.workloads if (one.stage, one.attempt) == (unit.key, attempt)), None
        )

    def pods(self, unit: Unit, attempt: int) -> list[PodView]:
        """The pods of an attempt; of one that was queued again, those of the gang that came after."""
        since = self._queued_again(unit, attempt)
        return [
            one
            for one in self.observed.pods
            if (one.stage, one.attempt) == (unit.key, attempt)
            and not (since is not None and one.ended and one.created < since)
        ]

    def counted(self, unit: Unit, record: AttemptStatus) -> list[PodView]:
        """The pods of an attempt whose ends are its own.

        Before all of them have run, those that are deleted are replaced, as of a Job that is suspended and resumed.
        """
        pods = self.pods(unit, record.attempt)
        if record.started_at is not None:
            return pods
        return [pod for pod in pods if not taken_away(pod)]

    def _queued_again(self, unit: Unit, attempt: int) -> datetime | None:
        """When a queue took the quota of a former gang of this attempt back."""
        records = [one for one in self.attempts if (one.stage, one.attempt) == (unit.key, attempt)]
        return records[-2].finished_at if records[1:] else None

    def alive(self, pod: PodView) -> bool:
        """Whether a pod may still do something, as far as anybody can know."""
        return not pod.ended and pod.node not in self.observed.lost_nodes

    def stop(self, workload: WorkloadView, why: str) -> None:
        """Ask for a workload's deletion, once."""
        asked = any(isinstance(one, DeleteWorkload) and one.workload is workload for one in self.actions)
        if not workload.deleting and not asked:
            self.actions.append(DeleteWorkload(workload, why))

    def look_again(self, at: datetime) -> None:
        """Look again at this time at the latest."""
        self.wake = at if self.wake is None else min(self.wake, at)

    def look_in(self, seconds: float) -> None:
        """Look again after so many seconds at the latest."""
        self.look_again(self.now + timedelta(seconds=seconds))

    def done(self, unit: Unit) -> bool:
        """Whether all stages of a unit are."""
        return all(self.stages[name].state in DONE for name in unit.stages)

    def listed_stages(self) -> Sequence[StageStatus]:
        """The stages in the order of the chain."""
        return list(self.stages.values())
