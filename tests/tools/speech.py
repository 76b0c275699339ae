"""Synthetic utterances: not speech, but with speech's rhythm, so that levels and pauses mean something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile


def synthetic_speech(seconds: float, seed: int = 0, rate: int = 16_000) -> npt.NDArray[np.float32]:
    """A harmonic voice in syllables with pauses between, float32 [samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 220)
    voice = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * time + rng.uniform(0, 6)), 0, None)
    noise = 0.002 * rng.standard_normal(len(time))
    return np.asarray(0.1 * voice * syllables + noise, np.float32)


def write_speech(path: Path, seconds: float = 1.0, seed: int = 0, rate: int = 16_000) -> Path:
    """Write a synthetic utterance in the format that the path's suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, synthetic_speech(seconds, seed, rate), rate)
    return path
