"""Values as people read them, by the names that Grafana gives units."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600
_KIBI: Final = 1024


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit; digits behind the point count where it has none."""
    if not math.isfinite(value):
        return "–"
    write = _WRITERS.get(unit)
    if write:
        return write(value)
    return f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"


def _duration(seconds: float) -> str:
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.3g} h"
    if seconds >= _MINUTE:
        return f"{seconds / _MINUTE:.3g} min"
    return f"{seconds:.3g} s" if seconds >= 1 or seconds == 0 else f"{1000 * seconds:.3g} ms"


def _bytes(value: float) -> str:
    for name in ("B", "KiB", "MiB", "GiB"):
        if value < _KIBI:
            return f"{value:.3g} {name}"
        value /= _KIBI
    return f"{value:.3g} TiB"


_WRITERS: Final[dict[str, Callable[[float], str]]] = {
    "percent": lambda value: f"{value:.3g} %",
    "percentunit": lambda value: f"{100 * value:.3g} %",
    "s": _duration,
    "bytes": _bytes,
    "ops": lambda value: f"{value:.3g}/s",
    "reqps": lambda value: f"{value:.3g}/s",
}
