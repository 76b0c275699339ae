"""Kubernetes quantities of the forms that the API admits."""

from __future__ import annotations

from typing import Final

_UNITS: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def to_bytes(quantity: str) -> int:
    """`asrtune_api.finetune.QUANTITY_PATTERN` as bytes."""
    number, unit = (quantity[:-2], quantity[-2:]) if quantity[-2:] in _UNITS else (quantity, "")
    return int(number) * _UNITS.get(unit, 1)


def to_millicores(cpu: str) -> int:
    """CPU such as 2 or 500m in thousandths."""
    return int(cpu[:-1]) if cpu.endswith("m") else int(cpu) * 1000
