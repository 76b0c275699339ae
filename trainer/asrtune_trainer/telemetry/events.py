"""Events of a run. Stages emit them; sinks (terminal, JSONL log, Prometheus, TensorBoard) carry them on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from asrtune_api.scores import ErrorMetric


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins or goes on."""

    stage: str
    type: str
    position: int
    """Place in the chain, from 1."""
    total: int
    """Stages in the chain."""


class WaitKind(StrEnum):
    """What a stage may wait for."""

    NOTHING = ""
    RENDEZVOUS = "Rendezvous"
    DOWNLOAD = "Download"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The run waits, which is no work of its own; `NOTHING` ends it."""

    stage: str
    kind: WaitKind
    message: str = ""
    """What it waits for, for people."""


@dataclass(frozen=True, slots=True)
class StageSkipped:
    """A stage was finished already and its inputs are unchanged."""

    stage: str
    type: str
    position: int
    total: int


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage is done."""

    stage: str
    type: str
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """Progress of a stage that counts items (utterances checked, decoded, uploaded)."""

    stage: str
    what: str
    done: int
    total: int
    unit: str = "utterances"
    part: int = 1
    """Which count of the stage this is, from 1, where it counts several things one after the other."""
    parts: int = 1
    """How many counts the stage has in all."""


@dataclass(frozen=True, slots=True)
class TrainStep:
    """One log line's worth of training: means since the last one. Times are seconds a step."""

    stage: str
    rank: int
    epoch: int
    """From 1."""
    epochs: int
    step: int
    """Optimiser steps since the start of training."""
    total_steps: int
    loss: float
    accuracy: float | None
    learning_rate: float
    gradient_norm: float
    batch_utterances: float
    data_seconds: float
    forward_seconds: float
    backward_seconds: float
    optimizer_seconds: float
    step_seconds: float
    utterances_per_second: float
    audio_seconds_per_second: float
    memory_bytes: int
    """Peak: GPU memory allocated, or the process's resident set on CPU."""
    skipped_steps: int
    """Non-finite steps skipped so far."""
    padding_percent: float
    memory_used_bytes: int | None = None
    """GPU memory allocated now; None where it was not measured."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Training goes on from a checkpoint that an earlier attempt left."""

    stage: str
    step: int
    """Optimiser steps that are done."""
    total_steps: int


@dataclass(frozen=True, slots=True)
class Validated:
    """A validation during training."""

    stage: str
    epoch: int
    step: int
    loss: float
    accuracy: float | None
    cer: float | None
    """Percent."""
    seconds: float
    best: bool
    """A new best by the selection's metric."""


@dataclass(frozen=True, slots=True)
class Saving:
    """A checkpoint is begun; until it is complete it must not be cut off without need."""

    stage: str
    step: int


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """A checkpoint is complete (and uploaded where the output is remote)."""

    stage: str
    step: int
    seconds: float
    """Time the training loop was held up."""
    write_seconds: float
    """Time until it was complete."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A test set scored with a model."""

    stage: str
    set: str
    model: str
    """base or finetuned."""
    cer: float
    """Percent, by the metric."""
    low: float
    high: float
    utterances: int
    retention: bool = False
    metric: ErrorMetric = ErrorMetric.CER


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for a person."""

    stage: str
    message: str
    warning: bool = False


Event = (
    StageStarted
    | StageSkipped
    | StageFinished
    | Waiting
    | Work
    | Resumed
    | TrainStep
    | Validated
    | Saving
    | Checkpointed
    | Scored
    | Note
)


class Telemetry(Protocol):
    """Where events go."""

    def emit(self, event: Event) -> None:
        """Carry an event to every sink; never raises and never blocks on the network."""
        ...


class Silent:
    """Telemetry that goes nowhere: for ranks other than 0."""

    def emit(self, event: Event) -> None:
        """Drop the event."""
