"""Clips are real audio, within the budget, and never an accident."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asrtune_trainer.report.audio import RATE, AudioBudget, data_uri

TIME = np.arange(2 * RATE) / RATE
TONE = (0.3 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)


def decoded(uri: str) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return samples, rate


@pytest.mark.parametrize("missing", [(), ("MP3",), ("MP3", "OGG")])
def test_a_clip_sounds_like_the_file(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    known = soundfile.available_formats()
    monkeypatch.setattr(
        soundfile, "available_formats", lambda: {name: "" for name in known if name not in missing}
    )
    samples, rate = decoded(data_uri(TONE))
    assert rate == RATE
    assert len(samples) == pytest.approx(len(TONE), abs=3000)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(440, abs=2)


def test_clips_are_small(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    assert len(AudioBudget().clip(tmp_path / "a.wav").uri) < 20_000


def test_the_budget_ends(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    budget = AudioBudget(len(data_uri(TONE)) + 10)
    assert budget.clip(tmp_path / "a.wav").uri
    clip = budget.clip(tmp_path / "a.wav")
    assert not clip.uri
    assert "small" in clip.absence


@pytest.mark.parametrize("content", [None, b"", b"no audio at all"])
def test_audio_that_cannot_be_read_is_said_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    clip = AudioBudget().clip(path)
    assert not clip.uri
    assert clip.absence.startswith("audio not available")
