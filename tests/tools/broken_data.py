"""Data sets with a known share of broken lines, every kind that users have met.

`python tests/tools/broken_data.py DIRECTORY --lines 1000 --percent 1` makes one for trying things by hand.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from asrtune_trainer.data.reasons import Reason

try:
    from tools.speech import synthetic_speech, write_speech
except ModuleNotFoundError:  # run as a program
    from speech import synthetic_speech, write_speech  # type: ignore[import-not-found,no-redef]

RATE = 16_000
TEXTS = ("一二三四五六", "七八九零一", "abc def", "二二三三", "九八七")  # what the tiny models can write


@dataclass(frozen=True)
class BrokenData:
    """A data set on disk."""

    directory: Path
    train: Path
    validation: Path
    test: Path
    lines: int
    """Of train, the only list with broken lines."""
    broken: dict[int, Reason]
    """Line number -> why it must be rejected."""


def make_broken_data(
    directory: Path, *, lines: int, percent: float, files: int = 200, seed: int = 0
) -> BrokenData:
    """Write three lists and their audio.

    Args:
        directory: where to.
        lines: of the training list.
        percent: share of its lines that are broken, each kind as often as the others.
        files: different good recordings that the training list uses in turn.
        seed: of which lines are broken.
    """
    audio = directory / "audio"
    for number in range(min(files, lines)):
        write_speech(audio / f"good-{number}.wav", 0.8 + number % 5 / 10, number)
    wrong = sorted(random.Random(seed).sample(range(2, lines + 1), round(lines * percent / 100)))
    makers = dict(zip(wrong, _endless(KINDS), strict=False))
    broken: dict[int, Reason] = {}
    train = directory / "train.jsonl"
    with train.open("wb") as list_:
        for line in range(1, lines + 1):
            if line in makers:
                broken[line], make = makers[line]
                data = make(audio, line)
            else:
                data = _line(
                    f"u{line}", f"audio/good-{line % min(files, lines)}.wav", TEXTS[line % len(TEXTS)]
                )
            list_.write(data + b"\n")
    others = [
        _write_good(directory, split, 10 if split == "validation" else 12) for split in ("validation", "test")
    ]
    return BrokenData(directory, train, *others, lines=lines, broken=broken)


def _write_good(directory: Path, split: str, lines: int) -> Path:
    path = directory / f"{split}.jsonl"
    with path.open("wb") as list_:
        for line in range(1, lines + 1):
            name = write_speech(
                directory / "audio" / f"{split}-{line}.wav",
                1.0,
                {"validation": 1000, "test": 2000}[split] + line,
            ).name
            list_.write(_line(f"{split}-{line}", f"audio/{name}", TEXTS[line % len(TEXTS)]) + b"\n")
    return path


def _line(key: str, source: str, target: str) -> bytes:
    return json.dumps({"key": key, "source": source, "target": target}, ensure_ascii=False).encode()


def _missing_file(_audio: Path, line: int) -> bytes:
    return _line(f"u{line}", f"audio/nowhere-{line}.wav", "没有文件")


def _empty_text(_audio: Path, line: int) -> bytes:
    return _line(f"u{line}", "audio/good-0.wav", " [laughter]　")


def _not_audio(audio: Path, line: int) -> bytes:
    (audio / f"text-{line}.wav").write_text("this is a text, not a recording\n" * 50)
    return _line(f"u{line}", f"audio/text-{line}.wav", "不是录音")


def _no_samples(audio: Path, line: int) -> bytes:
    soundfile.write(audio / f"none-{line}.wav", np.zeros(0), RATE)
    return _line(f"u{line}", f"audio/none-{line}.wav", "什么都没有")


def _eight_channels(audio: Path, line: int) -> bytes:
    soundfile.write(audio / f"eight-{line}.wav", np.tile(synthetic_speech(0.5)[:, None], 8), RATE)
    return _line(f"u{line}", f"audio/eight-{line}.wav", "八个麦克风")


def _nan_samples(audio: Path, line: int) -> bytes:
    samples = synthetic_speech(1.0)
    samples[100] = np.nan
    soundfile.write(audio / f"nan-{line}.wav", samples, RATE, subtype="FLOAT")
    return _line(f"u{line}", f"audio/nan-{line}.wav", "不是数")


def _bad_utf8(_audio: Path, line: int) -> bytes:
    return _line(f"u{line}", "audio/good-0.wav", "你好").replace("你".encode(), "你".encode("gb18030"))


def _duplicate_key(_audio: Path, _line_number: int) -> bytes:
    return _line("u1", "audio/good-0.wav", "重复")


def _truncated(audio: Path, line: int) -> bytes:
    path = write_speech(audio / f"cut-{line}.wav", 1.0, line)
    path.write_bytes(path.read_bytes()[: 44 + RATE])
    return _line(f"u{line}", f"audio/cut-{line}.wav", "断了")


Kind = tuple[Reason, Callable[[Path, int], bytes]]

KINDS: tuple[Kind, ...] = (
    (Reason.FILE_MISSING, _missing_file),
    (Reason.EMPTY_TEXT, _empty_text),
    (Reason.NOT_AUDIO, _not_audio),
    (Reason.NO_SAMPLES, _no_samples),
    (Reason.TOO_MANY_CHANNELS, _eight_channels),
    (Reason.NOT_FINITE, _nan_samples),
    (Reason.NOT_UTF8, _bad_utf8),
    (Reason.DUPLICATE_KEY, _duplicate_key),
    (Reason.TRUNCATED, _truncated),
)
"""Every kind of broken line, and what makes one of its number."""


def _endless(kinds: tuple[Kind, ...]) -> Iterator[Kind]:
    while True:
        yield from kinds


def main() -> None:
    """Make a data set and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--percent", type=float, default=1.0)
    options = parser.parse_args()
    data = make_broken_data(options.directory, lines=options.lines, percent=options.percent)
    print(f"{data.train}: {data.lines} lines, {len(data.broken)} of them broken")


if __name__ == "__main__":
    main()
