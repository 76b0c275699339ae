"""What every API model shares: camelCase names, no unknown fields, decimal strings instead of floats."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

DECIMAL_PATTERN = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class ApiModel(BaseModel):
    """Base of all API models: immutable, camelCase in files, unknown fields are errors."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


def parse_decimal(value: Any) -> Any:
    """Read a decimal string ("0.001", "5e-5"); integers pass, floats are refused as the API server would.

    Raises:
        ValueError: if the value is a float, not a decimal, or not finite.
    """
    if isinstance(value, bool):
        raise ValueError("is not a number")
    if isinstance(value, float):
        raise ValueError(
            f'must be a decimal string: write "{value!r}" in quotes (the Kubernetes API has no floats)'
        )
    if isinstance(value, int):
        return float(value)
    if isinstance(value, str):
        if not re.match(DECIMAL_PATTERN, value):
            raise ValueError(f'"{value}" is not a decimal number such as "0.001" or "5e-5"')
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f'"{value}" is too large')
        return number
    return value


def format_decimal(value: float) -> str:
    """The shortest decimal string that reads back as the same number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)  # noqa: PLR2004


Decimal = Annotated[
    float,
    BeforeValidator(parse_decimal),
    PlainSerializer(format_decimal, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DECIMAL_PATTERN}),
]
"""A real number, written as a decimal string."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=40)]
"""A DNS label, short enough to become part of object names."""

Uri = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^\S(.*\S)?$")]
"""A local path (relative to the manifest), or s3://bucket/key."""
