"""Amounts of resources as people write them."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

_BYTES: Final = frozenset({"memory", "ephemeral-storage", "storage"})
_UNITS: Final = (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))


def amount(resource: str, value: Decimal) -> str:
    """8, 0.5, 64Gi."""
    if resource not in _BYTES and not resource.startswith("hugepages-"):
        return f"{value.normalize():f}" if value else "0"
    for unit, size in _UNITS:
        if value >= size:
            return f"{round(value / size, 1).normalize():f}{unit}"
    return f"{value:f}"


def count(number: int, noun: str) -> str:
    """1 node, 2 nodes."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
