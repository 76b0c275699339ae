import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asrtune_trainer.data.audio import AudioError, load_audio, probe
from asrtune_trainer.data.checks import CHECKS, Limits, Measured, inspect, shortest_seconds
from asrtune_trainer.data.reasons import Problem, Reason
from tools.broken_data import KINDS
from tools.speech import synthetic_speech, write_speech

LIMITS = Limits(0.1, 60.0)
LINE_REASONS = {Reason.EMPTY_TEXT, Reason.NOT_UTF8, Reason.DUPLICATE_KEY}  # no matter of the file
FORMATS = ["a.wav", "a.flac", "a.ogg", "a.mp3"]


def reason_for(path: Path, text: str = "你好", limits: Limits = LIMITS) -> Reason | None:
    found = inspect(path, text, limits)
    return found.reason if isinstance(found, Problem) else None


def write(path: Path, samples: np.ndarray, rate: int = 16_000, **more: str) -> Path:
    soundfile.write(path, samples, rate, **more)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_and_measured(tmp_path: Path, name: str) -> None:
    path = write_speech(tmp_path / name, 2.0)
    found = inspect(path, "你好", LIMITS)
    assert isinstance(found, Measured)
    assert found.seconds == pytest.approx(2.0, abs=0.08)  # MP3 pads
    assert (found.rate, found.channels, found.clipped) == (16_000, 1, 0)
    assert found.rms == pytest.approx(float(np.sqrt(np.mean(synthetic_speech(2.0) ** 2))), rel=0.1)


def test_opus(tmp_path: Path) -> None:
    path = write(tmp_path / "a.opus", synthetic_speech(1.0), format="OGG", subtype="OPUS")
    assert len(load_audio(path)) == pytest.approx(16_000, abs=400)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_file_is_found_in_every_format(tmp_path: Path, name: str, share: float) -> None:
    path = write_speech(tmp_path / name, 3.0)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert reason_for(path) is Reason.TRUNCATED


def test_wav_of_unknown_length_is_not_truncated(tmp_path: Path) -> None:
    data = bytearray(write_speech(tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"  # as ffmpeg writes into a pipe
    (tmp_path / "a.wav").write_bytes(data)
    assert reason_for(tmp_path / "a.wav") is None


def test_wav_that_counts_its_header_is_not_truncated(tmp_path: Path) -> None:
    data = bytearray(write_speech(tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 44).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    assert reason_for(tmp_path / "a.wav") is None


@pytest.mark.parametrize(("reason", "make"), [kind for kind in KINDS if kind[0] not in LINE_REASONS])
def test_every_kind_of_broken_file(tmp_path: Path, reason: Reason, make: object) -> None:
    (tmp_path / "audio").mkdir()
    line = make(tmp_path / "audio", 7)  # type: ignore[operator]
    name = line.decode().split('"source": "')[1].split('"')[0]
    assert reason_for(tmp_path / name) is reason


def test_other_broken_files(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "directory.wav").mkdir()
    silence = np.full(16_000, 0.25, np.float32)
    speech = synthetic_speech(1.0)
    infinite = speech.copy()
    infinite[5] = np.inf
    huge = (speech * 1e30).astype(np.float32)
    assert reason_for(tmp_path / "empty.wav") is Reason.NO_SAMPLES
    assert reason_for(tmp_path / "directory.wav") is Reason.NOT_AUDIO
    assert reason_for(tmp_path / "nowhere" / "a.wav") is Reason.FILE_MISSING
    assert reason_for(tmp_path / ("n" * 300)) is Reason.UNREADABLE
    assert reason_for(write(tmp_path / "flat.wav", silence)) is Reason.SILENT
    assert reason_for(write(tmp_path / "inf.wav", infinite, subtype="FLOAT")) is Reason.NOT_FINITE
    assert reason_for(write(tmp_path / "huge.wav", huge, subtype="FLOAT")) is Reason.NOT_FINITE
    assert reason_for(write_speech(tmp_path / "short.wav", 0.09)) is Reason.TOO_SHORT
    assert reason_for(write_speech(tmp_path / "long.wav", 3.0), limits=Limits(0.1, 2.9)) is Reason.TOO_LONG
    assert reason_for(write_speech(tmp_path / "a.wav", 1.0), "字" * 17) is Reason.TEXT_TOO_LONG
    assert reason_for(tmp_path / "a.wav", "字" * 16) is None


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert reason_for(tmp_path / "pipe.wav") is Reason.NOT_AUDIO


def test_headerless_file_is_not_audio(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"\1\2" * 8000)
    assert reason_for(tmp_path / "a.raw") is Reason.NOT_AUDIO


def test_clipped_samples_are_counted(tmp_path: Path) -> None:
    found = inspect(write(tmp_path / "a.wav", np.clip(synthetic_speech(1.0) * 20, -1, 1)), "a", LIMITS)
    assert isinstance(found, Measured)
    assert found.clipped > 100


def test_content_is_the_same_in_another_container(tmp_path: Path) -> None:
    whole = np.rint(synthetic_speech(1.0) * 32767).astype(np.int16)
    first, second = (inspect(write(tmp_path / name, whole), "a", LIMITS) for name in ("a.wav", "a.flac"))
    assert isinstance(first, Measured)
    assert isinstance(second, Measured)
    assert first.content == second.content
    other = inspect(write_speech(tmp_path / "b.wav", seed=1), "a", LIMITS)
    assert isinstance(other, Measured)
    assert other.content != first.content


def test_shortest_time_of_a_text_is_far_under_what_people_need() -> None:
    assert shortest_seconds("今天天气很好，我们去公园吧。") == pytest.approx(12 * 0.06)
    assert shortest_seconds("and now for something") == pytest.approx(18 * 0.02)
    assert shortest_seconds("……！") == 0


def test_every_check_has_its_own_reason() -> None:
    assert list(CHECKS) == [Reason.TOO_SHORT, Reason.NOT_FINITE, Reason.SILENT, Reason.TEXT_TOO_LONG]


def test_loading_mixes_down_and_resamples(tmp_path: Path) -> None:
    left, right = synthetic_speech(1.0, 1, 8000), synthetic_speech(1.0, 2, 8000)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), 8000)
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == (16_000,)
    assert np.allclose(load_audio(path, 8000), (left + right) / 2, atol=1e-4)
    assert probe(path).seconds == 1.0


def test_loading_one_channel_at_the_right_rate_changes_nothing(tmp_path: Path) -> None:
    path = write_speech(tmp_path / "a.wav")
    assert np.array_equal(load_audio(path), soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("reason", [Reason.FILE_MISSING, Reason.NOT_AUDIO])
def test_loading_says_why_not(tmp_path: Path, reason: Reason) -> None:
    path = tmp_path / "a.wav"
    if reason is Reason.NOT_AUDIO:
        path.write_text("text")
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    assert caught.value.reason is reason
