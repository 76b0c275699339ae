"""Why a run does not run, in a few sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

from asrtune_api.status import Phase
from asrtune_operator.backends.conditions import time
from asrtune_operator.follow.observe import pod_view
from asrtune_operator.kubectl.headline import headline
from asrtune_operator.kubectl.runs import Json, RunView
from asrtune_operator.kubectl.words import ago
from asrtune_operator.values.observed import PodView

_EVENTS: Final = 5
_PODS: Final = 8


class Answer(IntEnum):
    """Exit code of `kubectl asrtune why`."""

    FINE = 0
    """It runs, or is done."""
    WAITS = 1
    FAILED = 2


@dataclass(frozen=True, slots=True)
class Why:
    """Why a run does not run.

    Attributes:
        answer: in one number.
        phase: as in the status; New where there is none yet.
        word: the phase, and since when.
        reason: in one CamelCase word; may be empty.
        text: in sentences, with the remedy.
        pods: what its pods say of themselves, one that does not run a line.
        events: the last ones, the newest last.
    """

    answer: Answer
    phase: str
    word: str
    reason: str
    text: str
    pods: Sequence[str] = ()
    events: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "answer": self.answer.name.capitalize(),
            "phase": self.phase,
            "reason": self.reason,
            "message": self.text,
            "pods": list(self.pods),
            "events": list(self.events),
        }


def why_of(view: RunView, pods: Sequence[Json], events: Sequence[Json], now: datetime) -> Why:
    """The state of a run, why it is so, and what its pods and events say.

    Args:
        view: the run.
        pods: those of its newest attempt, as the API server gives them.
        events: about the run and its pods.
        now: the time.
    """
    head, phase = headline(view, now), view.status.phase
    return Why(
        answer=_answer(phase),
        phase=str(phase or "New"),
        word=head.word,
        reason=head.reason,
        text=head.text,
        pods=_pods([pod_view(pod) for pod in pods]),
        events=[_event(one, now) for one in _last(events, head.text)],
    )


def _answer(phase: Phase | None) -> Answer:
    if phase is Phase.FAILED:
        return Answer.FAILED
    return Answer.FINE if phase in {Phase.RUNNING, Phase.SUCCEEDED} else Answer.WAITS


def _pods(pods: Sequence[PodView]) -> list[str]:
    """The pods of a gang mostly say the same: once for all."""
    said: dict[str, list[str]] = {}
    for pod in pods:
        if not pod.running and pod.phase != "Succeeded":
            where = f"{pod.name} on {pod.node}" if pod.node else pod.name
            said.setdefault(_state(pod), []).append(where)
    return [
        f"{', '.join(names[:_PODS])}{' ...' if names[_PODS:] else ''}: {text}" for text, names in said.items()
    ]


def _last(events: Sequence[Json], said: str) -> Sequence[Json]:
    """The last ones, each reason and message once, without what is said already."""
    newest = {
        (one.get("reason"), text): one
        for one in sorted(events, key=_when)
        if not _is_said(text := str(one.get("message", "")).strip(), said)
    }
    return sorted(newest.values(), key=_when)[-_EVENTS:]


def _is_said(text: str, said: str) -> bool:
    """Whether an event's words, or those behind its `STAGE, attempt N: `, stand there already."""
    return any(part and part in said for part in (text, text.partition(": ")[2]))


def _state(pod: PodView) -> str:
    container = pod.container
    said = [
        f"{one.reason}: {one.message}".strip(": ")
        for kind, one in pod.conditions.items()
        if (kind == "PodScheduled" and one.status == "False") or (kind == "DisruptionTarget" and one.true)
    ]
    if pod.gates:
        said.append(f"held back by the scheduling gates {', '.join(pod.gates)}")
    if pod.init_waiting:
        said.append(f"init container: {pod.init_waiting}")
    if container.waiting_reason:
        said.append(f"{container.waiting_reason}: {container.waiting_message}".strip(": "))
    if container.exit_code is not None:
        said.append(f"ended with exit code {container.exit_code} ({container.ended_reason})")
    if pod.reason:
        said.append(f"{pod.reason}: {pod.message}".strip(": "))
    return f"{pod.phase}. {'. '.join(said)}" if said else pod.phase


def _event(one: Json, now: datetime) -> str:
    about = one.get("involvedObject") or {}
    subject = "" if about.get("kind") != "Pod" else f"pod {about.get('name')}: "
    return f"{ago(_when(one), now)}  {one.get('type')}  {one.get('reason')}  {subject}{one.get('message')}"


def _when(one: Json) -> datetime:
    """When an event was seen last: components write it into different fields."""
    series = one.get("series") or {}
    written = series.get("lastObservedTime") or one.get("lastTimestamp") or one.get("eventTime")
    return time(written or one["metadata"]["creationTimestamp"])
