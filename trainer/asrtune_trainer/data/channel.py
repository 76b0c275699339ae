"""A telephone line: 8 kHz, band-pass, level, noise, G.711, and back to 16 kHz.

The noise is added before the codec: on a digital line it is the caller's surroundings and microphone that are
noisy; what follows the codec is exact. So the codec quantises speech and noise together, as it does in life.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asrtune_api.stages import Codec, NoiseColour, SimulateParams
from asrtune_trainer.data.audio import SAMPLE_RATE, Samples, resample
from asrtune_trainer.data.g711 import Int16, through_codec

LINE_RATE = 8_000
"""Hz."""
LEVEL_DBOV = (-32.0, -20.0)
"""Active speech levels to draw from, dB under overload: 6 dB around the nominal -26 (ITU-T P.56, G.191)."""
TALKERS = 6
"""Voices that make babble."""
_TAPS = 257
"""Of the band-pass: its slopes are 110 Hz wide and it stops 60 dB (Kaiser's formula)."""
_KAISER_BETA = 5.65
_MARGIN_DB = 15.9
"""Of P.56: speech that is further below the active level counts as pause."""
_FRAME = LINE_RATE // 50
_FULL_SCALE = 32768.0
_LARGEST_GAIN = np.float32(100)
"""40 dB: what holds nothing in the pass band is not blown up to speech."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One call: what is drawn at random for one copy of one utterance."""

    codec: Codec
    noise: NoiseColour
    snr_db: float
    """Active speech level over noise level, both in the pass band."""
    level_dbov: float
    speed_percent: int
    seed: int
    """Of the noise itself and of the voices in it."""


def draw_channel(params: SimulateParams, seed: int, key: str, copy: int, *, speeds: Sequence[int]) -> Channel:
    """The channel of one copy: a function of the run's seed, the utterance's key and the copy's number alone."""
    name = hashlib.sha256(f"{seed}\0{key}\0{copy}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(name)))
    return Channel(
        codec=params.codecs[rng.integers(len(params.codecs))],
        noise=params.noises[rng.integers(len(params.noises))],
        snr_db=float(rng.uniform(params.snr_db_min, params.snr_db_max)),
        level_dbov=float(rng.uniform(*LEVEL_DBOV)),
        speed_percent=speeds[int(rng.integers(len(speeds)))],
        seed=int(rng.integers(2**63)),
    )


@dataclass(frozen=True)
class Line:
    """The pass band that all calls of a stage share.

    Args:
        low_hz: lower edge; 0 lets everything below `high_hz` pass.
        high_hz: upper edge, 4,000 at most.
    """

    low_hz: int
    high_hz: int

    def transmit(
        self, samples: Samples, rate: int, channel: Channel, voices: Sequence[Samples] = ()
    ) -> Int16:
        """Send an utterance over the line.

        Args:
            samples: float32 [samples], mono.
            rate: of `samples`, Hz.
            channel: the call.
            voices: for babble, other utterances at 8 kHz, float32 [samples].

        Returns:
            16-bit [samples] at 16 kHz, of the utterance's length divided by its speed.
        """
        speech = self._band_pass(resample(samples, rate * channel.speed_percent / 100, LINE_RATE))
        speech *= min(_gain(active_level_db(speech), channel.level_dbov), _LARGEST_GAIN)
        noise = self._band_pass(_noise(channel, len(speech), voices))
        noise *= _gain(_level_db(noise), channel.level_dbov - channel.snr_db)
        line = through_codec(_to_int16(speech + noise), channel.codec)
        return _to_int16(resample(line.astype(np.float32) / np.float32(_FULL_SCALE), LINE_RATE, SAMPLE_RATE))

    def _band_pass(self, samples: Samples) -> Samples:
        """Filter without delay; same length."""
        half = _TAPS // 2
        filtered: Samples = np.convolve(samples, self._taps())[half : half + len(samples)]
        return filtered

    def _taps(self) -> Samples:
        """Windowed-sinc band-pass [taps]: the difference of two low-passes."""
        time = np.arange(_TAPS) - _TAPS // 2
        edges = [2 * hz / LINE_RATE for hz in (self.low_hz, self.high_hz)]
        low, high = (edge * np.sinc(edge * time) for edge in edges)
        taps: Samples = ((high - low) * np.kaiser(_TAPS, _KAISER_BETA)).astype(np.float32)
        return taps


def active_level_db(speech: Samples) -> float:
    """Level of the speech without its pauses, dB: P.56's rule that pauses lie 15.9 dB below it, on 20 ms frames."""
    whole = speech[: len(speech) // _FRAME * _FRAME]
    power = np.mean(np.square(whole.reshape(-1, _FRAME) if len(whole) else speech[None]), axis=1)
    active = power
    while True:
        louder = active[active >= active.mean() * 10 ** (-_MARGIN_DB / 10)]
        if len(louder) == len(active):
            return _db(float(active.mean()))
        active = louder


def _noise(channel: Channel, length: int, voices: Sequence[Samples]) -> Samples:
    """Noise of any level, float32 [length] at 8 kHz."""
    rng = np.random.Generator(np.random.PCG64(channel.seed))
    if channel.noise is NoiseColour.BABBLE and voices:
        return _babble(voices, length, rng)
    white = rng.standard_normal(length, dtype=np.float32)
    if channel.noise is NoiseColour.WHITE:
        return white
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))  # power falls with 1/f
    return np.fft.irfft(spectrum, length).astype(np.float32)


def _babble(voices: Sequence[Samples], length: int, rng: np.random.Generator) -> Samples:
    """Voices of equal level, each repeated from a random place on."""
    total = np.zeros(length, np.float32)
    for voice in voices:
        start = int(rng.integers(len(voice)))
        total += np.resize(np.roll(voice, -start), length) * _gain(active_level_db(voice), 0.0)
    return total


def _gain(level_db: float, wanted_db: float) -> np.float32:
    return np.float32(10 ** ((wanted_db - level_db) / 20))


def _level_db(samples: Samples) -> float:
    return _db(float(np.mean(np.square(samples))))


def _db(power: float) -> float:
    return 10 * float(np.log10(max(power, 1e-12)))


def _to_int16(samples: Samples) -> Int16:
    whole: Int16 = np.clip(np.rint(samples * np.float32(_FULL_SCALE)), -32768, 32767).astype(np.int16)
    return whole
