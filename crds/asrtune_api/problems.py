"""pydantic's errors as sentences for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from asrtune_api.base import NAME_PATTERN, ApiModel
from asrtune_api.finetune import HUB_PATTERN, OBJECT_NAME_PATTERN, QUANTITY_PATTERN
from asrtune_api.layers import nested_model
from asrtune_api.suggest import did_you_mean

Loc = tuple[str | int, ...]

PATTERNS = {
    NAME_PATTERN: "use lower-case letters, digits and '-', with a letter or digit at both ends",
    OBJECT_NAME_PATTERN: "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
    QUANTITY_PATTERN: "write a number and Ki, Mi, Gi or Ti, such as 16Gi",
    r"^[0-9]+m?$": "write a number of CPUs such as 4, or thousandths such as 500m",
    r"^https?://\S+$": "write http://HOST:PORT or https://HOST",
    HUB_PATTERN: "write OWNER/NAME, such as iic/SenseVoiceSmall",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        loc: where in the document, keys and list indices.
        path: the same for people, list items by name.
        message: what is wrong, without a full stop.
    """

    loc: Loc
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def problems_of(error: ValidationError, model: type[ApiModel], document: Any = None) -> list[Problem]:
    """Every problem of a validation.

    Args:
        error: what pydantic raised.
        model: the model that was validated.
        document: what was validated, for the names of list items.
    """
    return [
        Problem(details["loc"], path_of(details["loc"], document), line)
        for details in error.errors(include_url=False)
        for line in _message(details, model).split("\n")
    ]


def path_of(loc: Loc, document: Any) -> str:
    """`spec.recipe.overrides[train].train` for a location; list items by their name where they have one."""
    path = ""
    for part in loc:
        document = _child(document, part)
        if isinstance(part, int):
            name = document.get("name") if isinstance(document, Mapping) else None
            path += f"[{name if isinstance(name, str) else part}]"
        else:
            path += f".{part}" if path else part
    return path


def model_at(model: type[ApiModel], loc: Loc) -> type[ApiModel] | None:
    """The model of the object at a location, None where there is no object of a known model."""
    found: type[ApiModel] | None = model
    for part in loc:
        if isinstance(part, int):
            continue
        name = field_name(found, part) if found is not None else None
        found = nested_model(found, name) if found is not None and name is not None else None
    return found


def field_name(model: type[ApiModel], key: str) -> str | None:
    """Name of the model's field that stands under a key in files."""
    return next((name for name, field in model.model_fields.items() if key in {name, field.alias}), None)


def keys_of(model: type[ApiModel]) -> list[str]:
    """The keys an object of this model may have in files."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _child(document: Any, part: str | int) -> Any:
    if isinstance(document, Mapping):
        return document.get(part)
    if isinstance(document, list) and isinstance(part, int) and part < len(document):
        return document[part]
    return None


def _message(details: ErrorDetails, model: type[ApiModel]) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind in OF_FIELDS:
        return OF_FIELDS[kind](details["loc"], model)
    if kind in OF_VALUES:
        return OF_VALUES[kind](value, context)
    return f"{details['msg'][:1].lower()}{details['msg'][1:]}"


def _missing(loc: Loc, model: type[ApiModel]) -> str:
    owner = model_at(model, loc[:-1])
    name = field_name(owner, str(loc[-1])) if owner is not None else None
    description = (
        (owner.model_fields[name].description or "") if owner is not None and name is not None else ""
    )
    return f"is missing ({description.rstrip('.')})" if description else "is missing"


def _unknown(loc: Loc, model: type[ApiModel]) -> str:
    owner = model_at(model, loc[:-1])
    known = keys_of(owner) if owner is not None else []
    return f"unknown field. {did_you_mean(str(loc[-1]), known, what='fields here')}".rstrip(". ")


def _not_among(value: Any, context: Mapping[str, Any]) -> str:
    known = re.findall(r"'([^']*)'", context["expected"])
    suggestion = did_you_mean(str(value), known)
    return f"{_quoted(value)} is not one of {', '.join(known)}" + (f". {suggestion}" if suggestion else "")


def _mismatch(value: Any, context: Mapping[str, Any]) -> str:
    pattern = context["pattern"]
    return f"{_quoted(value)}: {PATTERNS.get(pattern, f'must match {pattern}')}"


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


OF_FIELDS: Mapping[str, Callable[[Loc, type[ApiModel]], str]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
}
OF_VALUES: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "value_error": lambda _, context: str(context["error"]),
    "enum": _not_among,
    "literal_error": _not_among,
    "string_pattern_mismatch": _mismatch,
    "int_type": lambda value, _: f"{_quoted(value)} is not a whole number",
    "int_from_float": lambda value, _: f"{_quoted(value)} is not a whole number",
    "bool_type": lambda value, _: f"{_quoted(value)} is neither true nor false",
    "string_type": lambda value, _: (
        f'must be text, not {_kind(value)}: write "{_quoted(value)}" in quotes'
        if isinstance(value, bool | int | float)
        else f"must be text, not {_kind(value)}"
    ),
    "list_type": lambda value, _: f"must be a list, not {_kind(value)}",
    "dict_type": lambda value, _: f"must be a mapping, not {_kind(value)}",
    "model_type": lambda value, _: f"must be a mapping, not {_kind(value)}",
    "greater_than": lambda value, c: f"{_quoted(value)} is too small: must be greater than {c['gt']:g}",
    "greater_than_equal": lambda value, c: f"{_quoted(value)} is too small: must be at least {c['ge']:g}",
    "less_than": lambda value, c: f"{_quoted(value)} is too large: must be less than {c['lt']:g}",
    "less_than_equal": lambda value, c: f"{_quoted(value)} is too large: must be at most {c['le']:g}",
    "string_too_long": lambda _, c: f"is longer than {c['max_length']} characters",
    "string_too_short": lambda value, c: (
        f"is shorter than {c['min_length']} characters" if value else "must not be empty"
    ),
    "too_long": lambda _, c: f"has {c['actual_length']} items; at most {c['max_length']} are allowed",
    "too_short": lambda _, c: f"needs at least {c['min_length']} item{'s' * (c['min_length'] > 1)}",
}


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return (
        f"the number {value}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else _quoted(value)
    )
