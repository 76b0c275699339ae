"""The status of a draft: phase, conditions, usage. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from asrtune_api.base import format_decimal
from asrtune_api.evaluation import BestModel, EvaluationGate, EvaluationStatus
from asrtune_api.gate import judge
from asrtune_api.scores import Score
from asrtune_api.stages import StageType
from asrtune_api.status import (
    Artifacts,
    BestCer,
    Condition,
    ConditionStatus,
    ConditionType,
    FinetuneStatus,
    Phase,
    Progress,
    RunStatus,
    StageState,
)
from asrtune_operator.decide.draft import DONE, Draft
from asrtune_operator.decide.usage import usage_of
from asrtune_operator.decide.verdict import Verdict

Fact = tuple[ConditionType, bool | None, str, str]
"""Type, whether it holds (None: unknown), reason, message."""
_LONGEST: Final = 4096
_CHECKED: Final = {
    "utterances": "{:,.0f} utterances",
    "trainHours": "{:,.1f} h to train on",
    "rejected": "{:,.0f} lines rejected",
}
"""What is told of a Prepare's metrics where it is not 0."""
_STATUS: Final = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}


def status_of(draft: Draft) -> RunStatus:
    """The status that a draft comes to."""
    before, run = draft.before, draft.run
    current = draft.running or draft.current
    update = {
        "observed_generation": run.generation,
        "phase": _phase(draft),
        "stage": _stage(draft, current.key if current else None),
        "conditions": conditions(before, _facts(draft), draft.now, run.generation),
        "stages": list(draft.stages.values()),
        "attempts": draft.attempts,
        "progress": _progress(draft),
        "usage": usage_of(before.usage, before.attempts, draft.attempts, run.runtime.gpu_price_per_hour),
        "artifacts": _artifacts(draft),
        "run_spec": run.spec_name,
        "spec_digest": run.digest,
        "started_at": draft.started_at,
        "finished_at": draft.finished_at,
        "suspended_at": draft.suspended_at,
        "paused_seconds": draft.paused_seconds,
        "retried": run.retry,
    }
    if "results" in type(before).model_fields:
        update["results"] = draft.results
    if isinstance(before, FinetuneStatus):
        update["best_cer"] = _best(draft)
    if isinstance(before, EvaluationStatus):
        update["best"] = _best_model(draft)
    return before.model_copy(update=update)


def conditions(before: RunStatus, facts: Iterator[Fact], now: datetime, generation: int) -> list[Condition]:
    """Conditions from facts; the time of the last transition stays where the status is the same."""
    old = {one.type: one for one in before.conditions}
    made = []
    for kind, holds, reason, message in facts:
        status = _STATUS[holds]
        same = kind in old and old[kind].status is status
        made.append(
            Condition(
                type=kind,
                status=status,
                reason=reason,
                message=message[:_LONGEST],
                last_transition_time=old[kind].last_transition_time if same else now,
                observed_generation=generation,
            )
        )
    return made


def _phase(draft: Draft) -> Phase:
    if draft.failure is not None:
        return Phase.FAILED
    if draft.complete:
        return Phase.SUCCEEDED
    if draft.suspended_at is not None:
        return Phase.SUSPENDED
    if draft.running is not None:
        return Phase.RUNNING
    queue = _queued(draft)
    return Phase.QUEUED if queue is not None and not queue[0] else Phase.PENDING


def _stage(draft: Draft, key: str | None) -> str | None:
    running = [name for name, one in draft.stages.items() if one.state is StageState.RUNNING]
    return running[-1] if running else key


def _facts(draft: Draft) -> Iterator[Fact]:
    yield from _data_validated(draft)
    yield from _quota_reserved(draft)
    yield _running(draft)
    yield from _stalled(draft)
    if draft.suspended_at is not None:
        text = "spec.suspend is true: no pods run, no GPUs are held. Set it to false to go on."
        yield ConditionType.SUSPENDED, True, "Suspended", text
    elif any(one.type is ConditionType.SUSPENDED for one in draft.before.conditions):
        yield ConditionType.SUSPENDED, False, "NotSuspended", ""
    if draft.run.gate is not None:
        named = draft.run.gate.models if isinstance(draft.run.gate, EvaluationGate) else ()
        said = judge(draft.run.gate, draft.results, named)
        yield ConditionType.QUALITY_GATE_PASSED, said.passed, said.reason, said.message
    if draft.complete:
        yield ConditionType.COMPLETE, True, "Succeeded", _summary(draft)
    if draft.failure is not None:
        verdict, message = draft.failure
        yield ConditionType.FAILED, True, verdict, message


def _data_validated(draft: Draft) -> Iterator[Fact]:
    names = [name for name, one in draft.stages.items() if one.type is StageType.PREPARE]
    if draft.failure is not None and draft.failure[0] is Verdict.DATA_INVALID:
        yield ConditionType.DATA_VALIDATED, False, "DataInvalid", draft.failure[1]
    elif names and all(draft.stages[name].state in DONE for name in names):
        yield ConditionType.DATA_VALIDATED, True, "DataValid", _counts(draft, names)
    elif names:
        yield ConditionType.DATA_VALIDATED, None, "NotChecked", "The data has not been checked yet."


def _counts(draft: Draft, names: list[str]) -> str:
    metrics = {key: value for name in names for key, value in draft.stages[name].metrics.items()}
    told = [text.format(metrics[key]) for key, text in _CHECKED.items() if metrics.get(key)]
    return f"Checked: {', '.join(told)}." if told else "The data has been checked."


def _queued(draft: Draft) -> tuple[bool, str, str] | None:
    """Whether quota is reserved, with Kueue's reason and message; None without a queue."""
    if draft.run.queue is None or draft.current is None:
        return None
    record = draft.record_of(draft.current)
    workload = draft.workload(draft.current, record.attempt) if record else None
    if draft.running is not None:
        return True, "QuotaReserved", f"Queue {draft.run.queue} has reserved quota."
    if workload is None or workload.queue is None:
        return False, "Pending", f"Queue {draft.run.queue} has not taken notice yet."
    queue = workload.queue
    reserved = queue.reserved and not workload.suspended
    return reserved, queue.reason or ("QuotaReserved" if reserved else "Pending"), queue.message


def _quota_reserved(draft: Draft) -> Iterator[Fact]:
    if draft.complete or draft.failure is not None or draft.suspended_at is not None:
        if draft.run.queue is not None:
            yield ConditionType.QUOTA_RESERVED, False, "Released", "Nothing runs any more."
        return
    queue = _queued(draft)
    if queue is not None:
        yield ConditionType.QUOTA_RESERVED, *queue


def _running(draft: Draft) -> Fact:
    kind = ConditionType.RUNNING
    if draft.complete or draft.failure is not None:
        return kind, False, "Finished", "The run has ended."
    if draft.running is not None:
        unit = draft.running
        number = draft.attempt_of(unit)
        pods = draft.pods(unit, number)
        nodes = ", ".join(dict.fromkeys(pod.node for pod in pods[:8] if pod.node))
        gpus = sum(pod.gpus for pod in pods)
        text = f"{unit.key}, attempt {number}: {len(pods)} pod{'s' * (len(pods) != 1)}, {gpus} GPUs" + (
            f", on {nodes}." if nodes else "."
        )
        if draft.observed.foreseen:
            text += f" {draft.observed.foreseen}"
        if draft.run.edited:
            text += (
                " The spec was changed meanwhile: that takes effect when these pods have ended;"
                " suspend and resume the run for it to do so now."
            )
        return kind, True, "PodsRunning", text
    if draft.wait is not None:
        return kind, False, draft.wait.reason, draft.wait.message
    return kind, False, "Suspended", "spec.suspend is true."


def _stalled(draft: Draft) -> Iterator[Fact]:
    if draft.started_at is None:
        return
    record = draft.attempts[-1] if draft.attempts else None
    if record is not None and record.verdict == Verdict.STALLED:
        yield ConditionType.STALLED, True, "NoProgress", record.message
    elif draft.running is not None and (draft.progress is None or draft.progress.advanced_at is None):
        text = "Its progress has not been read yet; a stall could not be noticed."
        yield ConditionType.STALLED, None, "ProgressUnread", text
    else:
        yield ConditionType.STALLED, False, "Advancing", ""


def _progress(draft: Draft) -> Progress | None:
    if not draft.complete:
        return draft.progress
    done = draft.progress or Progress(percent=100)
    return done.model_copy(update={"percent": 100, "eta": None, "eta_seconds": None})


def _best(draft: Draft) -> BestCer | None:
    """The fine-tuned model's on the first test set of the new domain; before that, the best validation's."""
    measured = [one for one in draft.results if not one.baseline and not one.retention]
    if measured:
        return BestCer.model_validate(_rate(measured[0]))
    view = draft.observed.progress
    seen = view.document.best_cer if view is not None else None
    before = draft.before.best_cer if isinstance(draft.before, FinetuneStatus) else None
    fresh = draft.before.run_spec != draft.run.spec_name
    if seen is None:
        return None if fresh else before
    return BestCer.model_validate({"percent": format_decimal(round(seen, 2))})


def _best_model(draft: Draft) -> BestModel | None:
    """The compared model with the lowest error rate on the first test set that is no retention set."""
    measured = [one for one in draft.results if not one.retention]
    if not measured:
        return None
    best = min((one for one in measured if one.set == measured[0].set), key=lambda one: one.cer)
    return BestModel.model_validate({**_rate(best), "model": best.model})


def _rate(score: Score) -> dict[str, str]:
    numbers = {"percent": score.cer, "low": score.low, "high": score.high}
    return {**{key: format_decimal(value) for key, value in numbers.items()}, "set": score.set}


def _artifacts(draft: Draft) -> Artifacts | None:
    metrics = {one.type: one for one in draft.stages.values() if one.state in DONE and one.artifact_uri}
    output = draft.run.spec.output.rstrip("/")
    evaluated, published = metrics.get(StageType.EVALUATE), metrics.get(StageType.PUBLISH)
    if evaluated is None and published is None:
        return None
    report = f"{output}/report/index.html" if published else None
    if report is None and evaluated is not None:
        report = f"{evaluated.artifact_uri}/report/index.html"
    return Artifacts(
        model=f"{output}/model" if published else None,
        report=report,
        ledger=f"{output}/ledger.json" if draft.complete else None,
    )


def _summary(draft: Draft) -> str:
    best = [one for one in draft.results if not one.baseline and not one.retention]
    told = [f"CER {one.cer:g} % on {one.set} ({one.low:g} to {one.high:g})" for one in best[:3]]
    return f"All stages are done{': ' if told else ''}{', '.join(told)}."
