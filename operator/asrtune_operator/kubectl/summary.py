"""What came of a run, as Markdown: for the page of a CI job, a merge request, a chat. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from asrtune_api.evaluation import EvaluationStatus
from asrtune_api.scores import Score
from asrtune_api.status import ConditionStatus, ConditionType, FinetuneStatus, Phase
from asrtune_operator.kubectl.runs import RunView
from asrtune_operator.kubectl.words import between, rate, signed

_GATE: Final = {
    ConditionStatus.TRUE: "passed",
    ConditionStatus.FALSE: "not passed",
    ConditionStatus.UNKNOWN: "not judged",
}
_SPECIAL: Final = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|"} | {"\n": " "})


def summary(view: RunView) -> str:
    """A title, the gate's verdict, the error rates, and where the results lie."""
    return "\n".join(part for parts in (_head(view), _rates(view), _facts(view)) for part in parts) + "\n"


def _head(view: RunView) -> Iterator[str]:
    status = view.status
    yield f"### {view.run.identity.kind} {_text(view.title)}: {status.phase or 'New'}"
    yield ""
    gate = view.condition(ConditionType.QUALITY_GATE_PASSED)
    if gate is not None:
        yield f"**Quality gate {_GATE[gate.status]}.** {_text(gate.message)}".rstrip()
        yield ""
    failed = view.holds(ConditionType.FAILED)
    running = view.condition(ConditionType.RUNNING)
    if failed is not None:
        yield f"**{failed.reason}.** {_text(failed.message)}"
        yield ""
    elif status.phase is not Phase.SUCCEEDED and running is not None:
        yield _text(running.message)
        yield ""


def _rates(view: RunView) -> Iterator[str]:
    status = view.status
    scores = status.results if isinstance(status, FinetuneStatus | EvaluationStatus) else []
    if not scores:
        return
    yield "| Test set | Model | Error rate | 95 % interval | vs baseline | 95 % interval | Utterances |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for one in scores:
        cells = (
            _text(one.set) + (" (old domain)" if one.retention else ""),
            _text(one.model),
            f"{one.metric} {rate(one.cer)} %",
            f"{rate(one.low)} to {rate(one.high)}",
            *_difference(one),
            f"{one.utterances:,}",
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _difference(one: Score) -> Sequence[str]:
    if one.baseline:
        return "baseline", ""
    if one.difference is None:
        return "", ""
    if one.difference_low is None or one.difference_high is None:
        return signed(one.difference), ""
    return signed(one.difference), f"{signed(one.difference_low)} to {signed(one.difference_high)}"


def _facts(view: RunView) -> Iterator[str]:
    status = view.status
    if (places := status.artifacts) is not None:
        for name, place in (("Model", places.model), ("Report", places.report), ("Ledger", places.ledger)):
            if place:
                yield f"- {name}: `{place}`"
    elif view.output:
        yield f"- Output: `{view.output}`"
    if status.started_at is not None and status.finished_at is not None:
        yield f"- Time: {between(status.started_at, status.finished_at)}"
    if (usage := status.usage) is not None and usage.gpu_seconds:
        cost = f", cost {usage.cost:.2f}" if usage.cost is not None else ""
        yield f"- GPU seconds: {usage.gpu_seconds:,}, of them {usage.lost_gpu_seconds:,} lost{cost}"


def _text(said: str) -> str:
    """What somebody else wrote, without power over the page."""
    return said.translate(_SPECIAL)
