"""One data source as Prepare sees it: its lines judged as far as that goes without the audio."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.data.cache import is_remote, resolve_source
from asrtune_trainer.data.reader import Blank, Candidate, Reject, read_list
from asrtune_trainer.data.reasons import Problem, Reason
from asrtune_trainer.data.text import normalise_transcript

SAMPLE = 10_000
"""Lines drawn at random to judge a source by before it is read in full."""

Integers = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Ready:
    """A line of which only the audio is still to be checked."""

    line: int
    key: str
    uri: str
    """Absolute path or s3 URI."""
    text: str
    """Normalised transcript."""
    language: str
    speaker: str


@dataclass(frozen=True)
class SourceList:
    """A source's list, on this machine."""

    split: str
    """train, validation or test."""
    name: str
    uri: str
    """Where the user has it."""
    path: Path
    """Where it lies on this machine."""
    remove_event_tags: bool

    @property
    def label(self) -> str:
        return f"{self.split}/{self.name}"

    def lines(self) -> Iterator[Ready | Reject | Blank]:
        """Every line, in order, in constant memory; duplicate keys are not looked for."""
        for line in read_list(self.path):
            yield self._ready(line) if isinstance(line, Candidate) else line

    def _ready(self, line: Candidate) -> Ready | Reject:
        text = normalise_transcript(line.target, remove_event_tags=self.remove_event_tags)
        if not text:
            detail = "the transcript is empty" + (
                f" without its tags: {line.target[:60]!r}" if line.target else ""
            )
            return Reject(line.line, Problem(Reason.EMPTY_TEXT, detail), line.key, line.source)
        try:
            uri = resolve_source(line.source, self.uri)
        except SpecInvalidError as error:
            return Reject(line.line, Problem(Reason.UNSUPPORTED_SOURCE, error.message), line.key, line.source)
        return Ready(line.line, line.key, uri, text, line.language, line.speaker)


@dataclass
class Survey:
    """What one pass over a list tells: exact counts, duplicates, and a random sample."""

    lines: int = 0
    blank: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    """Lines that are rejected whatever their audio."""
    sample: list[Ready] = field(default_factory=list)
    """Lines in random order, `SAMPLE` at most."""
    remote: list[str] = field(default_factory=list)
    """Audio on S3: what must be found before it can be fetched."""
    repeats: Integers = field(default_factory=lambda: np.empty((0, 2), np.uint64))
    """Lines with a key that an earlier line has, and that line: [repeats, 2], sorted by line."""

    @property
    def written(self) -> int:
        """Lines that are not blank: what the share of rejects is taken of."""
        return self.lines - self.blank

    def first_with_key_of(self, line: int) -> int | None:
        """The earlier line that has the same key."""
        at = int(np.searchsorted(self.repeats[:, 0], line))
        found = at < len(self.repeats) and int(self.repeats[at, 0]) == line
        return int(self.repeats[at, 1]) if found else None

    def judge(self, line: Ready | Reject) -> Ready | Reject:
        """Reject a line whose key an earlier line has."""
        if isinstance(line, Ready) and (first := self.first_with_key_of(line.line)) is not None:
            return Reject(
                line.line, Problem(Reason.DUPLICATE_KEY, f"line {first} has the key too"), line.key, line.uri
            )
        return line


def survey(source: SourceList) -> Survey:
    """Pass over a list once; 16 bytes a line and the sample are kept."""
    found, rng = Survey(), random.Random(source.label)  # noqa: S311  not for secrets
    keys, numbers = array("Q"), array("Q")
    for line in source.lines():
        found.lines += 1
        if isinstance(line, Blank):
            found.blank += 1
        elif isinstance(line, Reject):
            found.rejected[line.problem.reason] += 1
        else:
            keys.append(_hash(line.key))
            numbers.append(line.line)
            _draw(found.sample, line, len(keys), rng)
            if is_remote(line.uri):
                found.remote.append(line.uri)
    found.repeats = _repeats(np.array(keys, np.uint64), np.array(numbers, np.uint64))
    if len(found.repeats):
        found.rejected[Reason.DUPLICATE_KEY] = len(found.repeats)
    found.sample = [line for line in found.sample if found.first_with_key_of(line.line) is None]
    rng.shuffle(found.sample)
    return found


def _draw(sample: list[Ready], line: Ready, seen: int, rng: random.Random) -> None:
    """Reservoir sampling (Vitter's algorithm R): each line is in the sample with the same probability."""
    if len(sample) < SAMPLE:
        sample.append(line)
    elif (place := rng.randrange(seen)) < SAMPLE:
        sample[place] = line


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def _repeats(keys: Integers, numbers: Integers) -> Integers:
    """Pairs (line, first line) of equal keys. Two keys of ten million collide with a probability of 3e-6."""
    order = np.argsort(keys, kind="stable")
    keys, numbers = keys[order], numbers[order]
    same = np.zeros(len(keys), bool)
    same[1:] = keys[1:] == keys[:-1]
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(keys)))) if len(keys) else order
    pairs = np.stack([numbers[same], numbers[first][same]], axis=1)
    return pairs[np.argsort(pairs[:, 0])]
