"""Ends a process that was asked to stop and cannot: before the kubelet does it without a word."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from asrtune_api.errors import InterruptedRunError
from asrtune_trainer.stages.stop import StopSignal

Speak = Callable[[InterruptedRunError], int]
"""Says how the process ended, and what its exit code is."""


def start_last_words(stop: StopSignal, grace_seconds: float, speak: Speak) -> None:
    """From the moment of the wish to stop, leave the process this long; then end it, whatever hangs in it."""

    def work() -> None:
        stop.wait()
        threading.Event().wait(grace_seconds)
        error = InterruptedRunError(
            f"stopped by {stop.cause}, but not done in {grace_seconds:g} s; what was saved before is safe.",
            remedy="Give pods more time to save a checkpoint: raise runPolicy.gracePeriodSeconds.",
            reason="GracePeriodExceeded",
        )
        os._exit(speak(error))

    threading.Thread(target=work, name="last words", daemon=True).start()
