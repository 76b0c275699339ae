"""Held against the tables of G.711 themselves, and against ffmpeg's decoder where there is one."""

import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest

from asrtune_api.stages import Codec
from asrtune_trainer.data.g711 import decode, encode, through_codec

EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
EVERY_OCTET = np.arange(256, dtype=np.uint8)


def mu_law_decisions() -> list[int]:
    """Decision values x1...x127 of G.711 table 2a, 14-bit units: 1, 3...31, then steps of 4, 8...256."""
    values, step = [1], 2
    for _segment in range(8):
        for _ in range(15 if step == 2 else 16):
            values.append(values[-1] + step)
        step *= 2
    return values[:127]


def a_law_decisions() -> list[int]:
    """Decision values x1...x127 of G.711 table 1a, 13-bit units (4096 is full scale): steps of 2, 2, 4...128."""
    values = list(range(2, 65, 2))
    step = 4
    while len(values) < 127:
        values += [values[-1] + step * (1 + k) for k in range(16)]
        step *= 2
    return values[:127]


def test_decision_values_are_those_of_the_tables() -> None:
    # Spot values printed in G.711: table 2a has 31, 95, 223 ... 4063 at the ends of its segments, table 1a 64 ... 2048.
    assert [mu_law_decisions()[i] for i in (0, 15, 31, 47, 63, 79, 95, 111)] == [
        1,
        31,
        95,
        223,
        479,
        991,
        2015,
        4063,
    ]
    assert [a_law_decisions()[i] for i in (31, 47, 63, 79, 95, 111)] == [64, 128, 256, 512, 1024, 2048]


def test_mu_law_follows_table_2a() -> None:
    positive = np.arange(0, 32768).astype(np.int16)
    number = np.searchsorted(mu_law_decisions(), positive / 4, side="right")  # the interval, 0 to 127
    assert np.array_equal(encode(positive, Codec.MU_LAW), 0xFF - number)
    assert np.array_equal(encode(~positive, Codec.MU_LAW), 0x7F - number)
    outputs = [
        0,
        *((a + b) // 2 for a, b in zip(mu_law_decisions(), [*mu_law_decisions()[1:], 8159], strict=True)),
    ]
    assert np.array_equal(
        decode((0xFF - np.arange(128)).astype(np.uint8), Codec.MU_LAW), np.array(outputs) * 4
    )
    assert outputs[127] == 8031  # y128 of the table


def test_a_law_follows_table_1a() -> None:
    positive = np.arange(0, 32768).astype(np.int16)
    number = np.searchsorted(a_law_decisions(), positive / 8, side="right")
    assert np.array_equal(encode(positive, Codec.A_LAW), (0x80 + number) ^ 0x55)
    assert np.array_equal(encode(~positive, Codec.A_LAW), number ^ 0x55)
    edges = [0, *a_law_decisions(), 4096]
    outputs = [(low + high) // 2 for low, high in pairwise(edges)]
    octets = ((0x80 + np.arange(128)) ^ 0x55).astype(np.uint8)
    assert np.array_equal(decode(octets, Codec.A_LAW), np.array(outputs) * 8)
    assert outputs[127] == 4032  # y128 of the table


@pytest.mark.parametrize("codec", Codec)
def test_decoder_is_odd_and_encoder_finds_its_octets_again(codec: Codec) -> None:
    assert np.array_equal(decode(EVERY_OCTET, codec), -decode(EVERY_OCTET ^ 0x80, codec))
    again = encode(decode(EVERY_OCTET, codec), codec)
    negative_zero = [0x7F] if codec is Codec.MU_LAW else []  # the mu-law has two zeros
    assert np.flatnonzero(again != EVERY_OCTET).tolist() == negative_zero


@pytest.mark.parametrize("codec", Codec)
def test_line_twice_is_line_once(codec: Codec) -> None:
    once = through_codec(EVERY_SAMPLE, codec)
    assert np.array_equal(through_codec(once, codec), once)


@pytest.mark.parametrize(("codec", "name"), [(Codec.MU_LAW, "mulaw"), (Codec.A_LAW, "alaw")])
def test_decoder_equals_ffmpeg(codec: Codec, name: str) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg on this machine")
    command = [program, "-v", "error", "-f", name, "-ar", "8000", "-ac", "1", "-i", "-", "-f", "s16le", "-"]
    heard = subprocess.run(command, input=EVERY_OCTET.tobytes(), capture_output=True, check=True).stdout
    assert np.array_equal(decode(EVERY_OCTET, codec), np.frombuffer(heard, "<i2"))
