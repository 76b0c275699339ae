"""A run's state in one line, and why it is so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asrtune_api.status import ConditionType, Phase
from asrtune_operator.decide.verdict import Fault, Verdict
from asrtune_operator.kubectl.runs import RunView
from asrtune_operator.kubectl.words import ago, between

_PATIENCE_SECONDS: Final = 60
STYLES: Final = {
    Phase.PENDING: "yellow",
    Phase.QUEUED: "yellow",
    Phase.RUNNING: "green",
    Phase.SUSPENDED: "blue",
    Phase.SUCCEEDED: "bold green",
    Phase.FAILED: "bold red",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """What a person wants to know first.

    Attributes:
        word: the phase, and since when.
        reason: why, as one CamelCase word; may be empty.
        text: why, in sentences, with what to do about it.
        style: of rich.
    """

    word: str
    reason: str
    text: str
    style: str


def headline(view: RunView, now: datetime) -> Headline:
    """The state of a run."""
    phase = view.status.phase
    if phase is None:
        return Headline("New", "", _unseen(view, now), "yellow")
    word, reason, text = _OF_PHASE[phase](view, now)
    notes = [text, *_notes(view)]
    return Headline(word, reason, " ".join(note for note in notes if note), STYLES[phase])


def _unseen(view: RunView, now: datetime) -> str:
    if (now - view.run.created).total_seconds() < _PATIENCE_SECONDS:
        return "The operator has not looked at it yet."
    return (
        f"The operator has not looked at it in {between(view.run.created, now)}: is asrtune-operator running, and does "
        "it serve this namespace? Whoever runs the cluster can tell."
    )


def _running(view: RunView, now: datetime) -> tuple[str, str, str]:
    running, stalled = view.condition(ConditionType.RUNNING), view.holds(ConditionType.STALLED)
    since = f" for {between(view.status.started_at, now)}" if view.status.started_at else ""
    text = running.message if running else ""
    return f"Running{since}", "", f"{text} {stalled.message}".strip() if stalled else text


def _waiting(view: RunView, now: datetime) -> tuple[str, str, str]:
    running, quota = view.condition(ConditionType.RUNNING), view.condition(ConditionType.QUOTA_RESERVED)
    if running is None:
        return str(view.status.phase), "", ""
    text = running.message
    if view.status.phase is Phase.QUEUED and quota is not None and quota.message not in text:
        text = f"{text} {quota.message}"
    return f"{view.status.phase} for {between(running.last_transition_time, now)}", running.reason, text


def _suspended(view: RunView, now: datetime) -> tuple[str, str, str]:
    since, found = view.status.suspended_at, view.holds(ConditionType.SUSPENDED)
    progress = view.status.progress
    saved = (
        f" The last checkpoint is of step {progress.checkpoint_step:,}."
        if progress and progress.checkpoint_step
        else ""
    )
    text = (found.message if found else "") + saved + f" `kubectl asrtune resume {view.named}` goes on."
    return "Suspended" + (f" for {between(since, now)}" if since else ""), "", text


def _succeeded(view: RunView, now: datetime) -> tuple[str, str, str]:
    found, end = view.holds(ConditionType.COMPLETE), view.status.finished_at
    return "Succeeded" + (f" {ago(end, now)}" if end else ""), "", found.message if found else ""


def _failed(view: RunView, now: datetime) -> tuple[str, str, str]:
    found, end = view.holds(ConditionType.FAILED), view.status.finished_at
    word = "Failed" + (f" {ago(end, now)}" if end else "")
    if found is None:
        return word, "", ""
    if found.reason == Verdict.SPEC_INVALID:
        again = f"if it is not the manifest that was wrong, `kubectl asrtune retry {view.named}` tries again"
        return (
            word,
            found.reason,
            f"{found.message} It starts again when a corrected manifest is applied; {again}.",
        )
    mended = found.reason in set(Verdict) and Verdict(found.reason).fault is Fault.USER
    again = f"`kubectl asrtune retry {view.named}` goes on from what is done."
    return word, found.reason, f"{found.message} {'Once that is mended, ' if mended else ''}{again}"


def _notes(view: RunView) -> list[str]:
    """What changed since the operator looked last."""
    asked = bool(view.run.spec.get("suspend"))
    phase = view.status.phase
    notes = []
    if view.run.deleting:
        notes.append("It is being deleted.")
    if view.behind:
        notes.append("The spec was changed; the operator has not acted on it yet.")
    elif asked and phase is Phase.RUNNING:
        notes.append("It is to be suspended: its pods save a checkpoint and end.")
    return notes


_OF_PHASE: Final = {
    Phase.PENDING: _waiting,
    Phase.QUEUED: _waiting,
    Phase.RUNNING: _running,
    Phase.SUSPENDED: _suspended,
    Phase.SUCCEEDED: _succeeded,
    Phase.FAILED: _failed,
}
