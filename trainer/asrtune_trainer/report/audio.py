"""Audio as a part of the page: small MP3 clips, because every browser plays them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import soundfile

from asrtune_trainer.data.audio import AudioError, Samples, load_audio
from asrtune_trainer.report.model import Clip

BUDGET = 8_000_000
"""Characters of audio in a page, base64 included."""
RATE = 16_000
"""Hz: what the models hear."""
_MP3_QUALITY = 0.5  # libsndfile counts from 0, best, to 1, smallest; about 25 kbit/s for speech
_FORMATS = (
    ("MP3", "MPEG_LAYER_III", "audio/mpeg"),
    ("OGG", "VORBIS", "audio/ogg"),
    ("FLAC", "PCM_16", "audio/flac"),
)


class AudioBudget:
    """Hands out clips until the page would get too large.

    Args:
        size: characters of all clips together.
    """

    def __init__(self, size: int = BUDGET) -> None:
        self._left = size

    def clip(self, path: str | Path) -> Clip:
        """The audio of a file, or why it is not there; never raises for anything that a file may hold."""
        try:
            uri = data_uri(load_audio(path, RATE))
        except (AudioError, soundfile.LibsndfileError) as error:
            return Clip("", f"audio not available: {getattr(error, 'detail', error)}")
        if len(uri) > self._left:
            return Clip("", "audio left out to keep this page small")
        self._left -= len(uri)
        return Clip(uri)


def data_uri(samples: Samples, rate: int = RATE) -> str:
    """Encode float32 [samples] in the first format that the installed libsndfile can write."""
    known = soundfile.available_formats()
    container, codec, mime = next(one for one in _FORMATS if one[0] in known)
    buffer = io.BytesIO()
    quality = {"compression_level": _MP3_QUALITY} if container == "MP3" else {}
    soundfile.write(buffer, samples, rate, format=container, subtype=codec, **quality)
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"
