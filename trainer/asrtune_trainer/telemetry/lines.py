"""Events as lines of text for people: what stands in a terminal's history and in a pod's log."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping

from asrtune_trainer.telemetry.events import (
    Checkpointed,
    Event,
    Note,
    Resumed,
    Saving,
    Scored,
    StageFinished,
    StageSkipped,
    StageStarted,
    TrainStep,
    Validated,
    Waiting,
    Work,
)

_LARGEST_EXPONENT = 700.0
"""exp() of more is no float any more."""


def line_of(event: Event) -> str:
    """The event as one line (a Note: as many as its message has)."""
    head = f"{event.stage}: " if event.stage else ""
    match event:
        case StageStarted() | StageSkipped():
            skipped = ": unchanged, skipped" if isinstance(event, StageSkipped) else ""
            return f"[{event.position}/{event.total}] {event.stage}{skipped}"
        case StageFinished():
            metrics = numbers(event.metrics)
            return f"{head}done in {duration(event.seconds)}{metrics and f' ({metrics})'}"
        case Note():
            return head + (f"warning: {event.message}" if event.warning else event.message)
        case Waiting():
            return head + (f"waits {event.message}" if event.kind else "waits no longer")
        case Scored():
            return head + scored(event)
        case _:
            return head + _of_work(event)


def _of_work(event: Work | Resumed | TrainStep | Validated | Saving | Checkpointed) -> str:
    match event:
        case Work():
            return work(event)
        case Resumed():
            return f"goes on after step {event.step} of {event.total_steps}"
        case TrainStep():
            return train_step(event)
        case Validated():
            return validated(event)
        case Saving():
            return f"saving the checkpoint of step {event.step}"
        case Checkpointed():
            return checkpointed(event)


def work(event: Work) -> str:
    """A count of items."""
    share = f" ({100 * event.done // event.total} %)" if event.total > 0 else ""
    return f"{event.what} {event.done}/{event.total} {event.unit}{share}"


def train_step(event: TrainStep) -> str:
    """The log line that users of FunASR know: rank, epoch, step, loss, ppl, acc, lr, batch, times, memory."""
    parts = [
        f"rank {event.rank}",
        f"epoch {event.epoch}/{event.epochs}",
        f"step {event.step}/{event.total_steps}",
        f"loss {event.loss:.4f}",
        f"ppl {perplexity(event.loss):.4g}",
        *([f"acc {event.accuracy:.4f}"] if event.accuracy is not None else []),
        f"lr {event.learning_rate:.3e}",
        f"grad {event.gradient_norm:.3g}",
        f"batch {event.batch_utterances:.1f}",
        f"data {event.data_seconds:.3f}",
        f"forward {event.forward_seconds:.3f}",
        f"backward {event.backward_seconds:.3f}",
        f"optim {event.optimizer_seconds:.3f}",
        f"step {event.step_seconds:.3f} s",
        f"{event.utterances_per_second:.1f} utt/s",
        f"{event.audio_seconds_per_second:.1f} audio s/s",
        memory(event),
        *([f"skipped {event.skipped_steps}"] if event.skipped_steps else []),
    ]
    return ", ".join(parts)


def validated(event: Validated) -> str:
    """A validation's verdict."""
    parts = [
        f"loss {event.loss:.4f}",
        *([f"acc {event.accuracy:.4f}"] if event.accuracy is not None else []),
        *([f"CER {event.cer:.2f} %"] if event.cer is not None else []),
        duration(event.seconds),
        *(["the best so far"] if event.best else []),
    ]
    return f"validation at step {event.step}, epoch {event.epoch}: {', '.join(parts)}"


def checkpointed(event: Checkpointed) -> str:
    """A checkpoint, and what it cost."""
    cost = f"complete after {duration(event.write_seconds)}, training waited {duration(event.seconds)}"
    return f"checkpoint of step {event.step}: {cost}"


def scored(event: Scored) -> str:
    """A test set's error rate."""
    interval = f"({event.low:.2f} to {event.high:.2f})"
    rate = f"{event.metric} {event.cer:.2f} % {interval}"
    return f"{event.set}, {event.model}: {rate}, {utterances(event.utterances)}"


def utterances(number: int) -> str:
    """So many utterances."""
    return f"{number} utterance{'' if number == 1 else 's'}"


def memory(event: TrainStep) -> str:
    """Memory in GB (1e9 bytes), used and peak."""
    peak = f"{event.memory_bytes / 1e9:.2f} GB"
    used = event.memory_used_bytes
    return f"mem peak {peak}" if used is None else f"mem {used / 1e9:.2f}, peak {peak}"


def perplexity(loss: float) -> float:
    """exp(loss); infinite where that is no float."""
    return math.exp(loss) if not loss > _LARGEST_EXPONENT else math.inf


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 60:  # noqa: PLR2004 (a minute)
        return f"{seconds:.3g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def numbers(metrics: Mapping[str, float]) -> str:
    """Metrics by name, four digits each."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def printable(text: str, encoding: str = "utf-8") -> str:
    """The text as a stream of this encoding can show it: nothing steers the terminal, nothing fails to encode."""
    shown = "".join(
        one if one == "\n" or unicodedata.category(one)[0] != "C" else repr(one)[1:-1] for one in text
    )
    return shown.encode(encoding, "backslashreplace").decode(encoding)
