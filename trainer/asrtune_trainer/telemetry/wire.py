"""Events as JSON lines: between the processes of a run, and in its log.

Strict JSON: what is not finite travels as "NaN", "Infinity" or "-Infinity", which JavaScript's Number() reads
too. Pure ASCII, one line an event: any pipe and any locale can carry it.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any, get_args

from pydantic import TypeAdapter

from asrtune_trainer.telemetry.events import Event

KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
"""The closed set of events by name."""
_FIELDS = {name: tuple(field.name for field in fields(kind)) for name, kind in KINDS.items()}
_FLOATS = {
    name: {field.name for field in fields(kind) if "float" in str(field.type)} for name, kind in KINDS.items()
}
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_READERS: dict[str, TypeAdapter[Event]] = {name: TypeAdapter(kind) for name, kind in KINDS.items()}


def to_fields(event: Event) -> dict[str, Any]:
    """The event as JSON values, its kind under `event`."""
    name = type(event).__name__
    return {"event": name} | {field: _outgoing(getattr(event, field)) for field in _FIELDS[name]}


def to_json(event: Event) -> str:
    """The event as one line of JSON, without the line's end."""
    return json.dumps(to_fields(event), allow_nan=False)


def from_json(text: str | bytes) -> Event:
    """The event of a line; fields that this version does not know are ignored.

    Raises:
        ValueError: if the line is not JSON, names no known event, or misses a field.
    """
    values = json.loads(text)
    reader = _READERS.get(str(values.get("event"))) if isinstance(values, dict) else None
    if reader is None:
        raise ValueError(f"not an event: {text!r:.200}")
    return reader.validate_python(values)


def read_fields(text: str | bytes) -> dict[str, Any]:
    """What `to_fields` made of an event, with its numbers as numbers again; fields may be missing or unknown.

    Raises:
        ValueError: if the line is not JSON.
    """
    values: dict[str, Any] = json.loads(text)
    floats = _FLOATS.get(values.get("event", ""), set())
    return {
        name: _NOT_FINITE.get(value, value) if name in floats and isinstance(value, str) else value
        for name, value in values.items()
    }


def _outgoing(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        # File names that are not UTF-8 hold lone surrogates, which no reader accepts.
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_outgoing(key): _outgoing(item) for key, item in value.items()}
    return value
