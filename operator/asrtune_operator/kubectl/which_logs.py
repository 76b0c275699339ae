"""Which pods' logs a person means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from asrtune_api.suggest import did_you_mean
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.headline import headline
from asrtune_operator.kubectl.runs import RunView
from asrtune_operator.values.observed import PodView


@dataclass(frozen=True, slots=True)
class Chosen:
    """One attempt's pods, by rank."""

    stage: str
    """The first that the pods run."""
    attempt: int
    pods: Sequence[PodView]


def choose(view: RunView, pods: Sequence[PodView], stage: str | None, attempt: int | None) -> Chosen:
    """The pods of an attempt.

    Args:
        view: the run.
        pods: all of its pods that are there.
        stage: the stage; None: the one that runs, or ran last.
        attempt: its number; None: the last one.

    Raises:
        PluginError: there is no such stage, or there are no such pods (any more); it says where the log lies then.
    """
    made = [(one.created_at, one.stage, one.attempt) for one in view.status.attempts]
    made += [(pod.created, pod.stage, pod.attempt) for pod in pods]
    key = _key(view, stage, {one[1] for one in made}) if stage is not None else None
    fitting = [one for one in made if key in {None, one[1]} and attempt in {None, one[2]}]
    if not fitting:
        raise _nothing(view, stage, attempt)
    _, found, number = max(fitting)
    chosen = [pod for pod in pods if (pod.stage, pod.attempt) == (found, number)]
    if not chosen:
        raise _gone(view, found, number)
    return Chosen(found, number, sorted(chosen, key=lambda pod: (pod.rank or 0, pod.name)))


def _key(view: RunView, stage: str, known: set[str]) -> str:
    """The first stage of the pods that run a stage: itself, or an earlier one where they share pods."""
    names = [one.name for one in view.status.stages]
    if stage not in names:
        remedy = did_you_mean(stage, names, what="stages")
        raise PluginError(f'there is no stage "{stage}".', where=view.title, remedy=remedy)
    before = [name for name in names[: names.index(stage) + 1] if name in known]
    return before[-1] if before else stage


def _nothing(view: RunView, stage: str | None, attempt: int | None) -> PluginError:
    what = " of " + ", ".join(
        [*([stage] if stage else []), *([f"attempt {attempt}"] if attempt is not None else [])]
    )
    head = headline(view, datetime.now(UTC))
    return PluginError(
        f"there are no pods{what if stage or attempt is not None else ''}. {head.word}. {head.text}".rstrip(),
        where=view.title,
    )


def _gone(view: RunView, stage: str, attempt: int) -> PluginError:
    record = next((one for one in view.status.attempts if (one.stage, one.attempt) == (stage, attempt)), None)
    if record is None or record.finished_at is None:
        head = headline(view, datetime.now(UTC))
        return PluginError(f"{stage}, attempt {attempt} has no pods yet. {head.text}", where=view.title)
    return PluginError(
        f"the pods of {stage}, attempt {attempt} are gone, and what they printed with them. "
        f"It ended {record.verdict}: {record.message}",
        where=view.title,
        remedy=f"The event log of finished attempts lies in {view.output}, as log*.jsonl.",
    )
