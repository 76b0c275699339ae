from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.stages import Codec, NoiseColour, SimulateParams
from asrtune_trainer.data.channel import LINE_RATE, Channel, Line, active_level_db, draw_channel
from tools.speech import synthetic_speech

LINE = Line(300, 3400)
QUIET = Channel(Codec.MU_LAW, NoiseColour.WHITE, snr_db=60, level_dbov=-26, speed_percent=100, seed=1)


def tone(hz: float, seconds: float = 1.0, rate: int = 16_000) -> npt.NDArray[np.float32]:
    return (0.2 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def spectrum_db(samples: npt.NDArray[np.generic], hz: float) -> float:
    """Level of the strongest line within 20 Hz, dB of any reference."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64) * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / 16_000)
    return float(10 * np.log10(power[np.abs(frequencies - hz) < 20].max()))


def test_band_pass_keeps_the_band_and_stops_the_rest() -> None:
    mixed = sum(tone(hz) for hz in (100, 1000, 3000, 3700, 6000))
    heard = LINE.transmit(np.asarray(mixed, np.float32) / 5, 16_000, QUIET)
    kept = spectrum_db(heard, 1000)
    assert abs(spectrum_db(heard, 3000) - kept) < 0.5
    for stopped in (100, 3700, 6000):  # G.711's own noise lies some 40 dB down
        assert spectrum_db(heard, stopped) < kept - 38


@pytest.mark.parametrize("noise", NoiseColour)
@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_has_the_level_that_was_drawn(noise: NoiseColour, snr: float) -> None:
    speech = synthetic_speech(4.0, seed=3)
    voices = [synthetic_speech(2.0, seed=seed, rate=LINE_RATE) for seed in range(10, 16)]
    channel = replace(QUIET, noise=noise, level_dbov=-20)
    clean = LINE.transmit(speech, 16_000, replace(channel, snr_db=60), voices).astype(np.float64)
    noisy = LINE.transmit(speech, 16_000, replace(channel, snr_db=snr), voices).astype(np.float64)
    measured = active_level_db((clean / 32768).astype(np.float32)) - 10 * np.log10(
        np.mean(((noisy - clean) / 32768) ** 2)
    )
    assert measured == pytest.approx(snr, abs=0.7)


@pytest.mark.parametrize("level", [-32, -26, -20])
def test_speech_has_the_level_that_was_drawn(level: float) -> None:
    for gain in (0.1, 1.0):
        heard = LINE.transmit(tone(1000) * np.float32(gain), 16_000, replace(QUIET, level_dbov=level))
        assert active_level_db((heard / 32768).astype(np.float32)) == pytest.approx(level, abs=0.3)


def test_active_level_leaves_pauses_out() -> None:
    speech = tone(1000, 1.0, LINE_RATE)
    padded = np.concatenate([speech, np.zeros(9 * LINE_RATE, np.float32)])
    assert active_level_db(padded) == pytest.approx(active_level_db(speech), abs=0.1)
    assert active_level_db(speech) == pytest.approx(10 * np.log10(0.2**2 / 2), abs=0.1)


@pytest.mark.parametrize(("speed", "seconds"), [(100, 2.0), (90, 2.0 / 0.9), (110, 2.0 / 1.1)])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_length_follows_speed_at_any_rate(rate: int, speed: int, seconds: float) -> None:
    heard = LINE.transmit(tone(1000, 2.0, rate), rate, replace(QUIET, speed_percent=speed))
    assert len(heard) / 16_000 == pytest.approx(seconds, abs=0.001)
    assert spectrum_db(heard, 10 * speed) > spectrum_db(heard, 2000) + 30


def test_shorter_than_the_filter() -> None:
    assert len(LINE.transmit(tone(1000, 0.01), 16_000, QUIET)) == 160


def test_nothing_in_the_band_is_not_blown_up_to_speech() -> None:
    heard = LINE.transmit(tone(50, 3.0), 16_000, QUIET)
    middle = (heard[16_000:32_000] / 32768).astype(np.float32)  # without the clicks at both ends
    assert active_level_db(middle) < -40


def test_same_channel_gives_the_same_samples() -> None:
    channel = replace(QUIET, noise=NoiseColour.PINK, snr_db=10)
    first, second = (LINE.transmit(synthetic_speech(1.0), 16_000, channel) for _ in range(2))
    assert np.array_equal(first, second)
    other = LINE.transmit(synthetic_speech(1.0), 16_000, replace(channel, seed=2))
    assert not np.array_equal(first, other)


@given(st.integers(0, 2**31 - 1), st.text(max_size=20), st.integers(1, 20))
def test_draw_is_a_function_of_seed_key_and_copy(seed: int, key: str, copy: int) -> None:
    params = SimulateParams(noises=list(NoiseColour), snr_db_min="5", snr_db_max="9")  # type: ignore[arg-type]
    channel = draw_channel(params, seed, key, copy, speeds=[90, 100])
    assert channel == draw_channel(params, seed, key, copy, speeds=[90, 100])
    assert 5 <= channel.snr_db <= 9
    assert -32 <= channel.level_dbov <= -20
    assert channel.speed_percent in {90, 100}
    assert channel.seed != draw_channel(params, seed, key, copy + 1, speeds=[90, 100]).seed


def test_draws_cover_what_may_be_drawn() -> None:
    params = SimulateParams(noises=list(NoiseColour))
    drawn = [draw_channel(params, 0, str(key), 1, speeds=[90, 100, 110]) for key in range(300)]
    counts = {value: sum(one.codec is value for one in drawn) for value in Codec}
    counts |= {value: sum(one.noise is value for one in drawn) for value in NoiseColour}
    assert min(counts.values()) > 70
    assert {one.speed_percent for one in drawn} == {90, 100, 110}
