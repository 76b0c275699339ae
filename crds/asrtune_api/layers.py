"""Values from several deciders, merged leaf by leaf, with a record of who won."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from asrtune_api.base import LIST_MAP_KEY, ApiModel, extra_of
from asrtune_api.runspec import Decision, Origin


@dataclass(frozen=True, slots=True)
class Layer:
    """What one decider says.

    Attributes:
        origin: who it is.
        reason: path of a leaf in the RunSpec -> why it has this value.
        values: nested JSON values by field name (not alias); only what was really said. At a leaf, the value.
    """

    origin: Origin
    reason: Callable[[str], str]
    values: Any

    def below(self, field: str) -> Layer:
        """The part of it that is about one field."""
        return Layer(self.origin, self.reason, self.values[field])


def said(model: ApiModel, *, without: Collection[str] = ()) -> dict[str, Any]:
    """What somebody really said in a model: the fields set, as JSON values by field name.

    Args:
        model: the model.
        without: names of fields to leave out.
    """
    values = model.model_dump(mode="json", by_alias=False, exclude_unset=True, exclude=set(without))
    return dict(_without_nulls(values))


def merge(
    model: type[ApiModel], layers: Sequence[Layer], path: str = "", *, skip: Collection[str] = ()
) -> tuple[dict[str, Any], list[Decision]]:
    """Decide every leaf of a model: the last layer that says something wins, else the model's own default.

    Args:
        model: what to fill.
        layers: the deciders, the weakest first.
        path: where the model stands in the RunSpec.
        skip: fields that are decided elsewhere.

    Returns:
        Values by field name for `model.model_validate` (a required field that nobody decides is missing), and one
        decision for each leaf. Items of list maps are told by name; the name itself is no leaf.
    """
    values: dict[str, Any] = {}
    decisions: list[Decision] = []
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        at = f"{path}.{field.alias or name}".lstrip(".")
        speaking = [layer.below(name) for layer in layers if name in layer.values]
        nested, key = nested_model(model, name), extra_of(field, LIST_MAP_KEY)
        if nested is not None and key is None:
            values[name], more = merge(nested, speaking, at)
        elif nested is not None and speaking:
            values[name], more = _merge_items(nested, key, speaking[-1], at)
        else:
            value, decision = _leaf(model, name, speaking, at)
            more = [] if decision is None else [decision]
            if decision is not None:
                values[name] = value
        decisions += more
    return values, decisions


def _merge_items(
    model: type[ApiModel], key: str, layer: Layer, path: str
) -> tuple[list[dict[str, Any]], list[Decision]]:
    items, decisions = [], []
    for item in layer.values:
        own = Layer(layer.origin, layer.reason, item)
        values, more = merge(model, [own], f"{path}.{item[key]}", skip=(key,))
        items.append({key: item[key], **values})
        decisions += more
    if not items:
        decisions.append(decide(path, [], layer.origin, layer.reason(path)))
    return items, decisions


def _leaf(
    model: type[ApiModel], name: str, speaking: Sequence[Layer], path: str
) -> tuple[Any, Decision | None]:
    if speaking:
        layer = speaking[-1]
        value = layer.values
        return value, decide(path, value, layer.origin, layer.reason(path))
    if model.model_fields[name].is_required():
        return None, None
    value = defaults(model)[name]
    return value, decide(path, value, Origin.DEFAULT, f"default of {model.__name__}")


def decide(path: str, value: Any, origin: Origin, reason: str) -> Decision:
    """A decision with its value as text."""
    return Decision(path=path, value=text_of(value), origin=origin, reason=reason)


def text_of(value: Any) -> str:
    """A JSON value as people read it: strings bare, null as "unset"."""
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@cache
def defaults(model: type[ApiModel]) -> dict[str, Any]:
    """JSON values of a model's optional fields by field name."""
    return model.model_construct().model_dump(mode="json", by_alias=False, warnings=False)


@cache
def nested_model(model: type[ApiModel], name: str) -> type[ApiModel] | None:
    """The API model in a field's type (itself, optional, or as items of a list), if there is one."""
    pending: list[Any] = [model.model_fields[name].annotation]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, ApiModel):
            return kind
        pending += get_args(kind)
    return None


def _without_nulls(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_nulls(value) for key, value in values.items() if value is not None}
    if isinstance(values, list):
        return [_without_nulls(value) for value in values]
    return values
