"""Structural schemas (OpenAPI v3 as Kubernetes wants it) from the API models."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from asrtune_api.base import DECIMAL_PATTERN, LIST_MAP_KEY, ApiModel, extra_of
from asrtune_api.layers import defaults, text_of

Schema = dict[str, Any]

# What of pydantic's JSON Schema a structural schema may hold; the rest is told otherwise or not at all.
KEPT = ("type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
        "minItems", "maxItems", "minProperties", "maxProperties")  # fmt: skip


def object_schema(model: type[ApiModel], *, stored_defaults: bool = True) -> Schema:
    """Schema of a model: every field described, rules as CEL, no references.

    Args:
        model: the model.
        stored_defaults: whether the API server shall write defaults into objects (in a status it must not).
    """
    fields = model.model_fields
    schema: Schema = {"type": "object", "description": _paragraph(model.__doc__)}
    required = [field.alias or name for name, field in fields.items() if field.is_required()]
    if required:
        schema["required"] = required
    schema["properties"] = {
        field.alias or name: _field_schema(model, name, field, stored_defaults=stored_defaults)
        for name, field in fields.items()
    }
    if model.rules:
        schema["x-kubernetes-validations"] = [
            {"rule": rule.cel, "message": rule.message} for rule in model.rules
        ]
    return schema


def _field_schema(model: type[ApiModel], name: str, field: FieldInfo, *, stored_defaults: bool) -> Schema:
    schema = _type_schema(field.annotation, field.metadata, stored_defaults=stored_defaults)
    if schema["type"] == "array":
        key = extra_of(field, LIST_MAP_KEY)
        schema |= (
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
            if key
            else {"x-kubernetes-list-type": "atomic"}
        )
    description = _paragraph(field.description)
    default = defaults(model).get(name)
    if default in (None, [], {}):
        pass
    elif schema["type"] == "object":
        if stored_defaults and model.schema_defaults and _has_defaults(schema):
            schema["default"] = {}
    elif not model.schema_defaults:
        description += f" Default: {_listed(default)} unless the preset says otherwise."
    elif stored_defaults:
        schema["default"] = default
    return {"description": description, **schema}


def _type_schema(annotation: Any, metadata: Sequence[Any] = (), *, stored_defaults: bool) -> Schema:
    bare = _without_none(annotation)
    if isinstance(bare, type) and issubclass(bare, ApiModel):
        return {
            k: v
            for k, v in object_schema(bare, stored_defaults=stored_defaults).items()
            if k != "description"
        }
    full = TypeAdapter(Annotated[bare, *metadata] if metadata else bare).json_schema()
    if "const" in full:
        full["enum"] = [full["const"]]
    schema = {key: full[key] for key in KEPT if key in full}
    inner = get_args(bare) if get_origin(bare) is not Annotated else get_args(get_args(bare)[0])
    if schema["type"] == "array":
        schema["items"] = _type_schema(inner[0], stored_defaults=stored_defaults)
    elif schema["type"] == "object":
        schema["additionalProperties"] = _type_schema(inner[1], stored_defaults=stored_defaults)
    elif schema.get("pattern") == DECIMAL_PATTERN:
        bounds = [bound for item in metadata if (bound := _decimal_bound(item)) is not None]
        schema |= {"x-kubernetes-validations": bounds} if bounds else {}
    return schema


def _decimal_bound(constraint: Any) -> Schema | None:
    for attribute, operator, words in (
        ("gt", ">", "greater than"),
        ("ge", ">=", "at least"),
        ("lt", "<", "less than"),
        ("le", "<=", "at most"),
    ):
        bound = getattr(constraint, attribute, None)
        if bound is not None:
            return {
                "rule": f"double(self) {operator} {float(bound)}",
                "message": f"must be {words} {bound:g}",
            }
    return None


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        (rest,) = [kind for kind in get_args(annotation) if kind is not types.NoneType]
        return rest
    return annotation


def _has_defaults(schema: Schema) -> bool:
    return any("default" in field for field in schema["properties"].values())


def _listed(default: Any) -> str:
    return ", ".join(map(text_of, default)) if isinstance(default, list) else text_of(default)


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())
