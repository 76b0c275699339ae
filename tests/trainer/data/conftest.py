"""Data sets and what Prepare makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.speech import write_speech


@pytest.fixture
def write_list(tmp_path: Path) -> Callable[..., Path]:
    """Writes a list of good utterances beside their audio: name, number, first seed; returns its path."""

    def write(name: str, count: int, seed: int = 0, **fields: Any) -> Path:
        path = tmp_path / "data" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as lines:
            for number in range(count):
                audio = write_speech(path.parent / name / f"{number}.wav", 0.6, seed + number)
                line = {
                    "key": f"{name}{number}",
                    "source": f"{name}/{audio.name}",
                    "target": f"第 {number} 句",
                }
                lines.write(json.dumps(line | fields, ensure_ascii=False) + "\n")
        return path

    return write
