"""The checks of one utterance, one small function each, in the order in which they are applied."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from asrtune_trainer.data.audio import AudioError, Samples, read_audio
from asrtune_trainer.data.reasons import Problem, Reason

SILENCE_PEAK_TO_PEAK = 2 / 32768
"""Digital silence: all samples within one step of 16 bits of each other."""
CLIPPED_LEVEL = 0.999
"""Samples at or over it count as clipped."""
SECONDS_PER_IDEOGRAPH = 0.06
"""One output frame of the slowest encoder in use (LFR 6 x 10 ms); people need 0.12 s and more."""
SECONDS_PER_LETTER = 0.02
"""50 letters a second: more than twice what the fastest speakers reach."""
_IDEOGRAPHS = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


@dataclass(frozen=True, slots=True)
class Limits:
    """What an utterance must keep to."""

    min_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a file that is audio."""

    seconds: float
    rate: int
    """Hz, as recorded."""
    channels: int
    low: float
    """Smallest sample."""
    high: float
    """Largest sample."""
    rms: float
    """Root mean square of all samples; NaN or infinite where one of them is."""
    clipped: int
    """Samples at full scale."""
    content: str
    """Digest of the samples: the same in another container."""


Check = Callable[[Measured, str, Limits], str | None]
"""Takes the measured audio, the normalised transcript and the limits; returns what is wrong, or None."""

CHECKS: dict[Reason, Check] = {}
"""Every check by the reason that it rejects for, in order."""


def check(reason: Reason) -> Callable[[Check], Check]:
    """Register a check."""

    def register(function: Check) -> Check:
        CHECKS[reason] = function
        return function

    return register


@check(Reason.TOO_SHORT)
def _too_short(audio: Measured, _text: str, limits: Limits) -> str | None:
    return f"{audio.seconds:.3f} s" if audio.seconds < limits.min_seconds else None


@check(Reason.NOT_FINITE)
def _not_finite(audio: Measured, _text: str, _limits: Limits) -> str | None:
    return None if np.isfinite(audio.rms) else "NaN or infinite samples"


@check(Reason.SILENT)
def _silent(audio: Measured, _text: str, _limits: Limits) -> str | None:
    return "every sample is the same" if audio.high - audio.low <= SILENCE_PEAK_TO_PEAK else None


@check(Reason.TEXT_TOO_LONG)
def _text_too_long(audio: Measured, text: str, _limits: Limits) -> str | None:
    needed = shortest_seconds(text)
    if needed <= audio.seconds:
        return None
    return f"{len(text)} characters in {audio.seconds:.2f} s; nobody needs less than {needed:.2f} s"


def shortest_seconds(text: str) -> float:
    """Seconds that a text takes at the least; CTC cannot align it with fewer frames either."""
    letters = [ord(character) for character in text if character.isalnum()]
    ideographs = sum(any(low <= code <= high for low, high in _IDEOGRAPHS) for code in letters)
    return ideographs * SECONDS_PER_IDEOGRAPH + (len(letters) - ideographs) * SECONDS_PER_LETTER


def inspect(path: str | os.PathLike[str], text: str, limits: Limits) -> Measured | Problem:
    """Decode a file and apply every check. Never raises for anything that a file may hold."""
    try:
        samples, info = read_audio(path, longest_seconds=limits.max_seconds)
    except AudioError as error:
        return error.problem
    audio = _measure(samples, info.rate)
    for reason, function in CHECKS.items():
        if detail := function(audio, text, limits):
            return Problem(reason, detail)
    return audio


def _measure(samples: Samples, rate: int) -> Measured:
    flat = samples.ravel()
    low, high = float(flat.min()), float(flat.max())
    loudest = max(-low, high)
    return Measured(
        seconds=len(samples) / rate,
        rate=rate,
        channels=samples.shape[1],
        low=low,
        high=high,
        rms=_rms(flat),
        clipped=int(np.count_nonzero(np.abs(flat) >= CLIPPED_LEVEL)) if loudest >= CLIPPED_LEVEL else 0,
        content=hashlib.sha256(np.ascontiguousarray(flat).data).hexdigest()[:16],
    )


def _rms(flat: Samples) -> float:
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # float files may hold anything; a check of its own tells
        return float(np.sqrt(np.mean(np.square(flat))))
