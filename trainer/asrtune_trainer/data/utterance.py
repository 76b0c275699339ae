"""The prepared utterance: one line of the lists that Prepare and Simulate write and everything else reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

FRAME_MILLISECONDS = 10
"""Shift of fbank frames; `source_len` counts in it, as FunASR's lines do."""


def frames_of(seconds: float) -> int:
    """Fbank frames before LFR, as FunASR's list tools count them."""
    return int(round(seconds, 6) * 1000 / FRAME_MILLISECONDS)


@dataclass(frozen=True, slots=True)
class Utterance:
    """A checked utterance."""

    key: str
    """Unique within its split: the source's name, a slash, the line's own key."""
    source: str
    """Audio: an absolute path, an s3 URI, or a path relative to the list's directory."""
    target: str
    """Transcript, normalised."""
    seconds: float
    """Duration."""
    source_len: int
    """Length in fbank frames of 10 ms, before LFR."""
    target_len: int
    """Length of the transcript in characters."""
    set: str
    """Name of the data source it came from."""
    language: str = ""
    """Language code (zh, en, yue, ja, ko) where the line gave one."""
    speaker: str = ""
    """Speaker where the line gave one."""


class UtteranceWriter:
    """Writes a list, one JSON object a line, UTF-8. A context manager; makes the directory."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = path.open("w", encoding="utf-8")
        self.count = 0
        """Utterances written so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def write(self, utterance: Utterance) -> None:
        """Append an utterance."""
        self._lines.write(json.dumps(asdict(utterance), ensure_ascii=False) + "\n")
        self.count += 1


def write_utterances(path: Path, utterances: Iterable[Utterance]) -> int:
    """Write a list, one JSON object a line, UTF-8. Returns the number of lines."""
    with UtteranceWriter(path) as writer:
        for utterance in utterances:
            writer.write(utterance)
    return writer.count


def read_utterances(path: Path) -> Iterator[Utterance]:
    """Read a list written by `write_utterances`; relative sources become absolute paths."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            fields = json.loads(line)
            source = fields["source"]
            if "://" not in source and not source.startswith("/"):
                fields["source"] = str(path.parent / source)
            yield Utterance(**fields)
