"""Events for tests: one of each kind, and hypothesis strategies for all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from asrtune_trainer.telemetry.events import Event, TrainStep
from asrtune_trainer.telemetry.wire import KINDS

anything: st.SearchStrategy[Event] = st.one_of(*(st.from_type(kind) for kind in KINDS.values()))
"""Any event at all, with nan, infinities and odd text."""


def train_step(**changes: Any) -> TrainStep:
    """A plausible log line of training."""
    values: dict[str, Any] = {
        "stage": "train",
        "rank": 0,
        "epoch": 2,
        "epochs": 20,
        "step": 50,
        "total_steps": 400,
        "loss": 1.25,
        "accuracy": 0.75,
        "learning_rate": 5e-5,
        "gradient_norm": 2.5,
        "batch_utterances": 16.0,
        "data_seconds": 0.01,
        "forward_seconds": 0.1,
        "backward_seconds": 0.2,
        "optimizer_seconds": 0.02,
        "step_seconds": 0.4,
        "utterances_per_second": 40.0,
        "audio_seconds_per_second": 160.0,
        "memory_bytes": 2_000_000_000,
        "skipped_steps": 1,
        "padding_percent": 6.5,
        "memory_used_bytes": 1_000_000_000,
    }
    return TrainStep(**(values | changes))
