"""What every API model shares: camelCase names, no unknown fields, decimal strings, rules over several fields."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

DECIMAL_PATTERN = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
DECIMAL_MAX_LENGTH = 32
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

LIST_MAP_KEY = "x-list-map-key"
COSMETIC = "x-asrtune-cosmetic"


def list_map(key: str = "name") -> dict[str, Any]:
    """For `Field(json_schema_extra=...)`: items are known by a key, which is unique in the list."""
    return {LIST_MAP_KEY: key}


def cosmetic() -> dict[str, Any]:
    """For `Field(json_schema_extra=...)`: the field cannot change a stage's result, only its speed or its log."""
    return {COSMETIC: True}


def extra_of(field: FieldInfo, key: str) -> Any:
    """What a field's `json_schema_extra` says under a key, or None."""
    extra = field.json_schema_extra
    return extra.get(key) if isinstance(extra, dict) else None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over several fields of one object, told twice so that laptop and cluster refuse the same manifests.

    Attributes:
        message: what to do about it; the same words from the API server and from the laptop.
        cel: the rule in CEL over `self`, for the API server.
        holds: the rule in Python over the model; None for a rule about changes, which needs the old object.
    """

    message: str
    cel: str
    holds: Callable[[Any], bool] | None


class ApiModel(BaseModel):
    """Base of all API models: immutable, camelCase in files, unknown fields are errors, null is as good as absent."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Rules over several fields."""
    schema_defaults: ClassVar[bool] = True
    """Whether the CRD carries the defaults. Not where a preset or a runtime may have another one: the API server
    would write the default in, and nobody could tell it from a wish."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """The API server prunes null from fields that are not nullable; so do we."""
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if value is not None}
        return data

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        broken = [rule.message for rule in self.rules if rule.holds is not None and not rule.holds(self)]
        broken += self._repeated_keys()
        if broken:
            raise ValueError("\n".join(broken))
        return self

    def _repeated_keys(self) -> list[str]:
        messages = []
        for name, field in type(self).model_fields.items():
            key = extra_of(field, LIST_MAP_KEY)
            items = getattr(self, name) if key else None
            counts = Counter(getattr(item, key) for item in items or ())
            repeated = [value for value, count in counts.items() if count > 1]
            messages += [f'{field.alias or name}: more than one item has the {key} "{v}"' for v in repeated]
        return messages

    def says(self, *names: str) -> bool:
        """Whether all these fields were given a value (CEL's `has`), rather than left to their defaults."""
        return all(name in self.model_fields_set and getattr(self, name) is not None for name in names)


def parse_decimal(value: Any) -> Any:
    """Read a decimal string ("0.001", "5e-5"); bare numbers are refused as the API server would refuse them.

    Raises:
        ValueError: if the value is not a string, not a decimal, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError('must be a decimal number in quotes, such as "0.001"')
    if isinstance(value, int | float):
        text = format_decimal(value) if math.isfinite(value) else "0.001"
        raise ValueError(
            f'must be a decimal string: write "{text}" in quotes (the Kubernetes API has no floats)'
        )
    if not re.fullmatch(DECIMAL_PATTERN, value) or value.endswith("\n"):
        raise ValueError(f'"{value}" is not a decimal number such as "0.001" or "5e-5"')
    if len(value) > DECIMAL_MAX_LENGTH:
        raise ValueError(f'"{value}" is longer than {DECIMAL_MAX_LENGTH} characters')
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f'"{value}" is too large')
    return number


def format_decimal(value: float) -> str:
    """The shortest decimal string that reads back as the same number."""
    if value == int(value) and abs(value) < 1e15:  # noqa: PLR2004 (every smaller whole number is exact)
        return str(int(value))
    return re.sub(r"e([+-])0*(?=[0-9])", r"e\1", repr(value))  # 5e-05 as people write it, 5e-5


Decimal = Annotated[
    float,
    BeforeValidator(parse_decimal),
    PlainSerializer(format_decimal, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DECIMAL_PATTERN, "maxLength": DECIMAL_MAX_LENGTH}),
]
"""A real number, written as a decimal string."""

Integer = Annotated[int, Field(strict=True)]
"""A whole number; unlike pydantic's int it refuses "5" and 5.0, as the API server does."""

Boolean = Annotated[bool, Field(strict=True)]
"""true or false; unlike pydantic's bool it refuses "yes" and 1, as the API server does."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=40)]
"""A DNS label, short enough to become part of object names."""

Uri = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^\S(.*\S)?$")]
"""A local path (relative to the manifest), file:///path or s3://bucket/key."""

_PLACE = re.compile(r"(s3://[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9](/.*)?|file:///.+)", re.DOTALL)


def uri_rule(*, optional: bool = False) -> Rule:
    """The rule that the field `uri` has a scheme we read."""

    def holds(model: Any) -> bool:
        return model.uri is None or "://" not in model.uri or bool(_PLACE.fullmatch(model.uri))

    return Rule(
        "uri must be a path, file:///path or s3://bucket/key; download from http and https first",
        ("!has(self.uri) || " if optional else "")
        + f"!self.uri.contains('://') || self.uri.matches('^{_PLACE.pattern}$')",
        holds,
    )
