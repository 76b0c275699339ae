"""Waiting for what others do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    probe: Callable[[], T | None],
    *,
    timeout: float = 30,
    what: str = "it",
    state: Callable[[], object] = lambda: None,
    every: float = 0.05,
) -> T:
    """The probe's first true answer.

    Args:
        probe: asked again and again.
        timeout: seconds.
        what: stands in the error.
        state: what was seen last, for the error.
        every: seconds between two questions.

    Raises:
        AssertionError: the time is over.
    """
    deadline = time.monotonic() + timeout
    while not (answer := probe()):
        if time.monotonic() > deadline:
            shown = json.dumps(state(), indent=1, ensure_ascii=False, default=str)
            raise AssertionError(f"waited {timeout} s in vain for {what}; last seen:\n{shown}")
        time.sleep(every)
    return answer
