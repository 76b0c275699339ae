"""Finds files that end before their container says; libsndfile shortens such WAV and Ogg files silently."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_UNKNOWN_SIZES = frozenset({0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF})
"""What programs that write to a pipe put for a size they cannot know (ffmpeg, sox)."""
_MAX_CHUNKS = 64
_MAX_PAGE = 65_307
"""Largest Ogg page, bytes (RFC 3533, section 6)."""
_TOLERATED_SECONDS = 0.01
"""Some programs count the header into the data; that much is no loss."""


def missing_bytes(path: Path) -> int:
    """How many bytes of audio are missing at the end; 0 for formats that do not say (FLAC and MP3 do when decoded)."""
    with path.open("rb") as file:
        match file.read(4):
            case b"RIFF":
                return _missing_from_wav(file)
            case b"OggS":
                return _missing_from_ogg(file)
    return 0


def _missing_from_wav(file: BinaryIO) -> int:
    """Compare the data chunk's size with the file's."""
    end = os.fstat(file.fileno()).st_size
    if file.read(8)[4:] != b"WAVE":
        return 0
    tolerated = 0
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:  # noqa: PLR2004  the size of a chunk's header
            return 0
        size = struct.unpack("<I", header[4:])[0]
        if header[:4] == b"data":
            lost = file.tell() + size - end
            return lost if lost > tolerated and size not in _UNKNOWN_SIZES else 0
        start = file.tell()
        if header[:4] == b"fmt ":
            bytes_per_second = struct.unpack("<I", file.read(12)[8:])[0] if size >= 16 else 0  # noqa: PLR2004
            tolerated = int(bytes_per_second * _TOLERATED_SECONDS)
        file.seek(start + size + size % 2)
    return 0


def _missing_from_ogg(file: BinaryIO) -> int:
    """Look whether the last page is whole (RFC 3533: a table of segment sizes stands before its data)."""
    end = os.fstat(file.fileno()).st_size
    file.seek(max(0, end - 2 * _MAX_PAGE))
    tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0:
        return 0
    page = tail[start:]
    segments = page[26] if len(page) > 26 else 255  # noqa: PLR2004  where the header holds their number
    sizes = page[27 : 27 + segments]
    return (
        max(0, 27 + segments + sum(sizes) - len(page))
        if len(sizes) == segments
        else 27 + segments - len(page)
    )
