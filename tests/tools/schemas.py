"""Hypothesis strategies for the documents that a structural schema allows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from asrtune_api.base import DECIMAL_PATTERN, format_decimal

Schema = dict[str, Any]


def documents(schema: Schema) -> st.SearchStrategy[Any]:
    """Objects with any subset of the optional fields; rules over several fields are not obeyed."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return {
        "object": _objects,
        "array": _arrays,
        "string": _strings,
        "integer": _integers,
        "boolean": lambda _: st.booleans(),
    }[schema["type"]](schema)


def _objects(schema: Schema) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        return st.dictionaries(
            st.text("ab/.-", min_size=1), documents(schema["additionalProperties"]), max_size=3
        )
    required = set(schema.get("required", ()))
    fields = {name: documents(field) for name, field in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


def _arrays(schema: Schema) -> st.SearchStrategy[Any]:
    keys = schema.get("x-kubernetes-list-map-keys")
    return st.lists(
        documents(schema["items"]),
        min_size=schema.get("minItems", 0),
        max_size=min(schema.get("maxItems", 3), 3),
        unique_by=(lambda item: item[keys[0]]) if keys else None,
    )


def _integers(schema: Schema) -> st.SearchStrategy[Any]:
    return st.integers(schema.get("minimum", 0), schema.get("maximum", 10**9))


def _strings(schema: Schema) -> st.SearchStrategy[Any]:
    if schema.get("pattern") == DECIMAL_PATTERN:
        rules = [rule["rule"].split() for rule in schema.get("x-kubernetes-validations", ())]
        bounds = {operator: float(bound) for _, operator, bound in rules}
        return st.floats(
            bounds.get(">", bounds.get(">=", -1e9)),
            bounds.get("<=", 1e9),
            exclude_min=">" in bounds,
        ).map(format_decimal)
    if "pattern" in schema:
        visible = st.characters(min_codepoint=33, max_codepoint=126)
        least, most = schema.get("minLength", 0), schema.get("maxLength", 1000)
        matching = st.from_regex(schema["pattern"].replace("$", r"\Z"), alphabet=visible)
        return matching.filter(lambda text: least <= len(text) <= most)
    return st.text(
        "abz09-", min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 20), 20)
    )
