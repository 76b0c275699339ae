"""The curve of a training stage: one JSON object a log line or validation, cut back on resume."""

from __future__ import annotations

import json
from pathlib import Path

from asrtune_trainer.telemetry.events import TrainStep, Validated
from asrtune_trainer.telemetry.wire import to_json


class History:
    """Appends to `history.jsonl`.

    Args:
        path: the file; made if it is not there.
        step: what was written after this step is dropped (it will be trained again).
    """

    def __init__(self, path: Path, step: int) -> None:
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(path)
        self._path = path

    def add(self, event: TrainStep | Validated) -> None:
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(to_json(event) + "\n")


def _whole_lines(path: Path) -> list[str]:
    """Lines that were written to the end; a killed process may leave half of one."""
    if not path.exists():
        return []
    return [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
