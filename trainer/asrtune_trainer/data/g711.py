"""The telephone's 64 kbit/s codec, ITU-T G.711 (11/1988), exact to the bit.

The formulas are those of the ITU-T Software Tool Library (G.191, module g711), applied to 16-bit samples: the
mu-law uses their 14 upper bits, the A-law 13, of which the lowest never decides.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from asrtune_api.stages import Codec

Int16 = npt.NDArray[np.int16]
Octets = npt.NDArray[np.uint8]

_MU_BIAS = 33
_MU_LARGEST = 0x1FFF
_A_EVEN_BITS = 0x55  # inverted on the line (G.711, table 1a)


def encode(samples: Int16, codec: Codec) -> Octets:
    """16-bit samples to octets, any shape."""
    octets: Octets = _table(codec)[0][samples.astype(np.int32) & 0xFFFF]
    return octets


def decode(octets: Octets, codec: Codec) -> Int16:
    """Octets to 16-bit samples, any shape."""
    return _table(codec)[1][octets]


def through_codec(samples: Int16, codec: Codec) -> Int16:
    """What is heard at the other end of a line."""
    return decode(encode(samples, codec), codec)


@cache
def _table(codec: Codec) -> tuple[Octets, Int16]:
    """Octet of each 16-bit sample (by its unsigned value), and sample of each octet."""
    samples = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32)
    octets = np.arange(256)
    if codec is Codec.MU_LAW:
        return _mu_encode(samples), _mu_decode(octets)
    return _a_encode(samples), _a_decode(octets)


def _mu_encode(samples: npt.NDArray[np.int32]) -> Octets:
    magnitude = np.where(samples < 0, ~samples, samples) >> 2
    magnitude = np.minimum(magnitude + _MU_BIAS, _MU_LARGEST)
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 4  # 33 lies in segment 1
    code = ((8 - segment) << 4) | (0xF - ((magnitude >> segment) & 0xF))
    octets: Octets = (code | np.where(samples >= 0, 0x80, 0)).astype(np.uint8)
    return octets


def _mu_decode(octets: npt.NDArray[np.int_]) -> Int16:
    mantissa, exponent = ~octets & 0xF, (~octets >> 4) & 0x7
    step = 4 << (exponent + 1)
    magnitude = (0x80 << exponent) + step * mantissa + step // 2 - 4 * _MU_BIAS
    return np.where(octets < 0x80, -magnitude, magnitude).astype(np.int16)  # noqa: PLR2004  the sign bit


def _a_encode(samples: npt.NDArray[np.int32]) -> Octets:
    magnitude = np.where(samples < 0, ~samples, samples) >> 4
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 3, 0)
    mantissa = np.where(exponent > 0, (magnitude >> np.maximum(exponent - 1, 0)) - 16, magnitude)
    code = (exponent << 4) + mantissa + np.where(samples >= 0, 0x80, 0)
    octets: Octets = (code ^ _A_EVEN_BITS).astype(np.uint8)
    return octets


def _a_decode(octets: npt.NDArray[np.int_]) -> Int16:
    code = octets ^ _A_EVEN_BITS
    exponent, mantissa = (code & 0x7F) >> 4, code & 0xF
    magnitude = ((mantissa + np.where(exponent > 0, 16, 0)) << 4) + 8
    magnitude <<= np.maximum(exponent - 1, 0)
    return np.where(code > 0x7F, magnitude, -magnitude).astype(np.int16)  # noqa: PLR2004  the sign bit
