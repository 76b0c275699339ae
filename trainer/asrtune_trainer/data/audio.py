"""Reads audio files: any rate and up to two channels in, float32 mono at one rate out."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asrtune_trainer.data.containers import missing_bytes
from asrtune_trainer.data.reasons import Problem, Reason

SAMPLE_RATE = 16_000
"""Rate of every model's front end, Hz."""
MAX_CHANNELS = 2
"""Stereo is mixed down; with more, which one holds the speaker is not ours to guess."""

Samples = npt.NDArray[np.float32]
"""Samples in [-1, 1]: [samples], or [samples, channels] before mixing down."""


class AudioError(Exception):
    """A file that cannot be used as audio.

    Args:
        reason: from the closed list.
        detail: what exactly, for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[AudioError], tuple[Reason, str]]:
        return AudioError, (self.reason, self.detail)  # crosses process borders

    @property
    def problem(self) -> Problem:
        return Problem(self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says."""

    frames: int
    """Samples a channel."""
    rate: int
    """Hz."""
    channels: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def load_audio(path: str | os.PathLike[str], rate: int = SAMPLE_RATE) -> Samples:
    """The whole file, mixed down and resampled.

    Args:
        path: WAV, FLAC, Ogg Vorbis, Opus, MP3 or whatever else libsndfile reads.
        rate: wanted rate, Hz.

    Returns:
        float32 [samples].

    Raises:
        AudioError: if the file is missing, not audio, empty, truncated, or has more than two channels.
    """
    samples, info = read_audio(path)
    mono = mix_down(samples)
    return mono if info.rate == rate else resample(mono, info.rate, rate)


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """What the header says; no sample is read.

    Raises:
        AudioError: if the file is missing, unreadable or not audio.
    """
    with _open(path) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels)


def read_audio(
    path: str | os.PathLike[str], *, longest_seconds: float = float("inf")
) -> tuple[Samples, AudioInfo]:
    """All samples as they are, float32 [samples, channels].

    Args:
        path: the file.
        longest_seconds: longer files are not decoded.

    Raises:
        AudioError: as `load_audio`, and TooLong.
    """
    with _open(path) as file:
        info = AudioInfo(file.frames, file.samplerate, file.channels)
        lost = _missing_bytes(path)
        if info.frames == 0 and not lost:
            raise AudioError(Reason.NO_SAMPLES, "the file holds a header and no samples")
        if info.channels > MAX_CHANNELS:
            raise AudioError(Reason.TOO_MANY_CHANNELS, f"{info.channels} channels")
        if lost:
            raise AudioError(Reason.TRUNCATED, f"{lost} bytes are missing at the end")
        if info.seconds > longest_seconds:
            raise AudioError(Reason.TOO_LONG, f"{info.seconds:.2f} s, more than {longest_seconds:g} s")
        return _decode(file, info), info


def mix_down(samples: Samples) -> Samples:
    """The mean of the channels: [samples, channels] -> [samples]."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)


def resample(samples: Samples, rate: float, wanted: float) -> Samples:
    """Band-limited resampling (soxr, high quality) of float32 [samples]."""
    return cast("Samples", soxr.resample(samples, rate, wanted, quality="HQ"))


def _open(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    _require_file(path)
    try:
        return soundfile.SoundFile(os.fspath(path))
    except (
        soundfile.LibsndfileError,
        TypeError,
        ValueError,
    ) as error:  # RAW wants arguments: not a format of ours
        detail = getattr(error, "error_string", "") or "no format that libsndfile knows"
        raise AudioError(Reason.NOT_AUDIO, detail.rstrip(".")) from error


def _require_file(path: str | os.PathLike[str]) -> None:
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError(Reason.FILE_MISSING, f"there is no {os.fspath(path)}") from None
    except OSError as error:  # no right to enter the directory, name too long, stale network file
        raise AudioError(Reason.UNREADABLE, f"{os.fspath(path)}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise AudioError(Reason.NOT_AUDIO, "it is a directory or a device, not a file")
    if not os.access(path, os.R_OK):
        raise AudioError(Reason.UNREADABLE, f"no permission to read {os.fspath(path)}")
    if status.st_size == 0:
        raise AudioError(Reason.NO_SAMPLES, "the file has 0 bytes")


def _missing_bytes(path: str | os.PathLike[str]) -> int:
    try:
        return missing_bytes(Path(path))
    except OSError as error:  # deleted meanwhile, or the disk failed
        raise AudioError(Reason.UNREADABLE, f"{os.fspath(path)}: {error.strerror}") from error


def _decode(file: soundfile.SoundFile, info: AudioInfo) -> Samples:
    try:
        samples = cast("Samples", file.read(dtype="float32", always_2d=True))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            Reason.TRUNCATED, f"decoding breaks off: {error.error_string.rstrip('.')}"
        ) from error
    except MemoryError as error:  # a damaged header may promise years of audio
        raise AudioError(Reason.NOT_AUDIO, f"the header promises {info.seconds:.0f} s") from error
    if len(samples) < info.frames:
        held = len(samples) / info.rate
        raise AudioError(
            Reason.TRUNCATED, f"holds {held:.2f} s of the {info.seconds:.2f} s its header promises"
        )
    return samples
