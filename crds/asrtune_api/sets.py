"""`--set path=value`: one field of a manifest changed from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, get_args, get_origin

from asrtune_api.base import LIST_MAP_KEY, ApiModel, extra_of
from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import ASRFinetune, Recipe
from asrtune_api.layers import nested_model
from asrtune_api.preset import load_preset
from asrtune_api.problems import Loc, field_name, keys_of
from asrtune_api.stages import PARAMS, StageSpec, StageType
from asrtune_api.suggest import did_you_mean
from asrtune_api.yaml_lines import read_value


def apply_set(document: dict[str, Any], text: str, kind: type[ApiModel] = ASRFinetune) -> Loc:
    """Set one field of a manifest in place.

    The path starts at the spec (`output.uri`, with or without `spec.`) or, for short, at a stage
    (`train.learningRate`, or `stages.train.learningRate` as `explain` prints it); items of lists are named
    (`data.train.NAME.uri` or `data.train[NAME].uri`). The value is YAML, except that text, names and decimal numbers
    stay as they are. An empty value unsets the field.

    Args:
        document: the manifest.
        text: the change.
        kind: what the manifest is of.

    Returns:
        Where in the document the value now stands.

    Raises:
        SpecInvalidError: there is no = in it, or the path leads nowhere.
    """
    return _Setter(text, kind).apply(document)


class _Setter:
    def __init__(self, text: str, kind: type[ApiModel]) -> None:
        self._kind = kind
        self._spec = nested_model(kind, "spec") or kind
        path, equals, self._value = text.partition("=")
        self._where = f"--set {text}"
        self._path = [part for part in re.sub(r"\[([^\]]*)\]", r".\1", path.strip()).split(".") if part]
        if not equals or not self._path:
            raise self._error(
                "is not PATH=VALUE.", "Write, for instance, train.learningRate=1e-4 or output.uri=out."
            )

    def apply(self, document: dict[str, Any]) -> Loc:
        spec = self._mapping(document, "spec")
        if self._path[0] == "spec" and self._path[1:]:
            del self._path[0]
        if self._is_explained(spec):
            del self._path[0]
            return self._in_stage(spec, self._path[0], _stages_of(spec)[self._path[0]])
        head = self._path[0]
        if head in {"spec", "metadata"}:
            return self._descend(document, self._kind, self._path, ())
        if head in keys_of(self._spec):
            return self._descend(spec, self._spec, self._path, ("spec",))
        stages = _stages_of(spec)
        if head not in stages:
            known = [*keys_of(self._spec), *stages]
            raise self._error(
                f'neither a field of the spec nor a stage is called "{head}".',
                f"{did_you_mean(head, known)} The stages are {', '.join(stages) or 'not known'}.".strip(),
            )
        return self._in_stage(spec, head, stages[head])

    def _is_explained(self, spec: dict[str, Any]) -> bool:
        """Whether it is stages.NAME.PARAMETER, as `explain` prints it; a manifest has stages.NAME.KEY.PARAMETER."""
        if self._path[0] != "stages" or not set(self._path[1:2]) & set(_stages_of(spec)):
            return False
        return not set(self._path[2:3]) & set(keys_of(StageSpec))

    def _in_stage(self, spec: dict[str, Any], stage: str, kind: StageType) -> Loc:
        key, params = PARAMS[kind]
        loc: Loc = ("spec", "stages") if spec.get("stages") else ("spec", "recipe", "overrides")
        items = self._items(spec if spec.get("stages") else self._mapping(spec, "recipe"), str(loc[-1]))
        index = _index(items, stage)
        if index is None:
            index = len(items)
            items.append({"name": stage})
        own = self._mapping(items[index], key)
        return self._descend(own, params, self._path[1:], (*loc, index, key))

    def _descend(self, here: dict[str, Any], model: type[ApiModel], path: list[str], loc: Loc) -> Loc:
        if not path:
            raise self._error(
                "names a stage, not one of its parameters.", f"They are {', '.join(keys_of(model))}."
            )
        key, *rest = path
        name = field_name(model, key)
        if name is None or key not in keys_of(model):
            raise self._error(
                f'unknown field "{key}".', did_you_mean(key, keys_of(model), what="fields here")
            )
        nested = nested_model(model, name)
        if not rest:
            here[key] = self._parse(model, name)
            return (*loc, key)
        if nested is None:
            raise self._error(f'"{key}" has no fields.', f"Set {'.'.join(self._path[: -len(rest)])} itself.")
        if extra_of(model.model_fields[name], LIST_MAP_KEY):
            items = self._items(here, key)
            index = self._find(items, rest[0], key, may_add=(model, key) == (Recipe, "overrides"))
            if not rest[1:]:
                raise self._error(
                    f"names an item of {key}, not one of its fields.",
                    f"They are {', '.join(keys_of(nested))}.",
                )
            return self._descend(items[index], nested, rest[1:], (*loc, key, index))
        return self._descend(self._mapping(here, key), nested, rest, (*loc, key))

    def _find(self, items: list[Any], name: str, key: str, *, may_add: bool) -> int:
        index = _index(items, name)
        if index is not None:
            return index
        if not may_add:
            known = [str(item["name"]) for item in items if isinstance(item, dict) and "name" in item]
            raise self._error(f'{key} has no item "{name}".', did_you_mean(name, known, what="names"))
        items.append({"name": name})
        return len(items) - 1

    def _parse(self, model: type[ApiModel], name: str) -> Any:
        value = self._value.strip()
        if value in {"", "null", "~"}:
            return None
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        return value if _is_text(model, name) and not quoted else read_value(value, self._where)

    def _mapping(self, here: dict[str, Any], key: str) -> dict[str, Any]:
        if here.get(key) is None:
            here[key] = {}
        value = here[key]
        if not isinstance(value, dict):
            raise self._error(f'"{key}" is not a mapping in the manifest.', "Correct it there.")
        return value

    def _items(self, here: dict[str, Any], key: str) -> list[Any]:
        if here.get(key) is None:
            here[key] = []
        value = here[key]
        if not isinstance(value, list):
            raise self._error(f'"{key}" is not a list in the manifest.', "Correct it there.")
        return value

    def _error(self, message: str, remedy: str) -> SpecInvalidError:
        return SpecInvalidError(message, where=self._where, remedy=remedy, reason="SetInvalid")


def _index(items: Iterable[Any], name: str) -> int | None:
    return next(
        (i for i, item in enumerate(items) if isinstance(item, dict) and item.get("name") == name), None
    )


def _stages_of(spec: dict[str, Any]) -> dict[str, StageType]:
    """Name -> type of the stages of a manifest that nobody has validated yet."""
    recipe, stages = spec.get("recipe"), spec.get("stages")
    if isinstance(recipe, dict) and isinstance(recipe.get("preset"), str):
        return {stage.name: stage.type for stage in load_preset(recipe["preset"]).stages}
    found = {}
    for stage in stages if isinstance(stages, list) else []:
        if (
            isinstance(stage, dict)
            and isinstance(stage.get("name"), str)
            and stage.get("type") in set(StageType)
        ):
            found[stage["name"]] = StageType(stage["type"])
    return found


def _is_text(model: type[ApiModel], name: str) -> bool:
    """Whether the field's value is text in a manifest: a string, a choice, or a decimal number."""
    pending: list[Any] = [model.model_fields[name].annotation]
    while pending:
        kind = pending.pop()
        if get_origin(kind) in {list, dict}:
            return False
        if isinstance(kind, str) or (isinstance(kind, type) and issubclass(kind, str | float | StrEnum)):
            return True
        pending += get_args(kind)
    return False
