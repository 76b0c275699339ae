"""Means between two log lines, kept on the device: nothing is synchronised until a line is due."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from asrtune_trainer.models.base import ForwardResult
from asrtune_trainer.train.feed import Loaded

PHASES = ("data", "forward", "backward", "optimizer")


class Stopwatch:
    """Time by phase. On CUDA by events, which the GPU stamps when it gets there, read only at log lines."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        # Waiting for data is host time on any device.
        if self._cuda and name != "data":
            event: Any = torch.cuda.Event
            begin, end = event(enable_timing=True), event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self._events.append((name, begin, end))
        else:
            started = time.perf_counter()
            yield
            self._seconds[name] += time.perf_counter() - started

    def read(self) -> dict[str, float]:
        """Seconds by phase since the last reading; waits for the GPU."""
        if self._events:
            torch.cuda.synchronize()
            for name, begin, end in self._events:
                self._seconds[name] += begin.elapsed_time(end) / 1000
        seconds, self._seconds, self._events = self._seconds, dict.fromkeys(PHASES, 0.0), []
        return seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """Means over the steps since the last reading."""

    steps: int
    loss: float
    accuracy: float | None
    gradient_norm: float
    skipped: int
    utterances: int
    audio_seconds: float
    seconds: float
    phases: dict[str, float]
    """Seconds by phase, in all."""


@dataclass
class Meter:
    """Sums of a training process since the last reading."""

    device: torch.device
    watch: Stopwatch = field(init=False)
    _sums: torch.Tensor = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Stopwatch(self.device)
        self._last = time.perf_counter()
        self._reset()

    def _reset(self) -> None:
        # loss, loss count, acc, acc count, norm, skipped
        self._sums = torch.zeros(6, dtype=torch.float64, device=self.device)
        self._steps = self._utterances = 0
        self._audio = 0.0

    def batch(self, loaded: Loaded, result: ForwardResult) -> None:
        """Count a batch. Losses that are not finite stay out of the mean."""
        loss = result.loss.detach().double()
        finite = torch.isfinite(loss)
        self._sums[0] += torch.where(finite, loss, 0.0)
        self._sums[1] += finite
        if (accuracy := result.stats.get("acc")) is not None:
            self._sums[2] += accuracy.detach().double().mean()
            self._sums[3] += 1
        self._utterances += loaded.utterances
        self._audio += loaded.audio_seconds

    def step(self, norm: torch.Tensor, skipped: torch.Tensor) -> None:
        """Count an optimiser step."""
        self._sums[4] += torch.where(skipped > 0, 0.0, norm.double())
        self._sums[5] += skipped
        self._steps += 1

    def age(self) -> float:
        """Seconds since the last reading."""
        return time.perf_counter() - self._last

    def read(self) -> Reading:
        """The means so far, and start anew. Synchronises with the device."""
        loss, losses, accuracy, accuracies, norm, skipped = self._sums.tolist()
        now = time.perf_counter()
        reading = Reading(
            steps=self._steps,
            loss=loss / losses if losses else float("nan"),
            accuracy=accuracy / accuracies if accuracies else None,
            gradient_norm=norm / max(1, self._steps - skipped),
            skipped=int(skipped),
            utterances=self._utterances,
            audio_seconds=self._audio,
            seconds=now - self._last,
            phases=self.watch.read(),
        )
        self._last = now
        self._reset()
        return reading


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on the GPU, or the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def used_memory(device: torch.device) -> int | None:
    """Memory allocated on the GPU now, in bytes; None on the CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None
