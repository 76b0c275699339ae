"""Write docs/api.md and docs/recipes.md from the API models and the presets: `python hack/reference.py [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asrtune_api import API_VERSION
from asrtune_api.base import DECIMAL_PATTERN, ApiModel
from asrtune_api.crd import KINDS, Kind
from asrtune_api.crd_schema import Schema, object_schema
from asrtune_api.layers import nested_model, text_of
from asrtune_api.preset import Preset, load_preset, preset_names
from asrtune_api.stages import StageSpec, stage_params

DOCS = Path(__file__).resolve().parents[1] / "docs"
_WRITTEN = "<!-- Written by `make generate`. Change {}, not this file. -->\n"
_API = f"""
Group and version `{API_VERSION}`. The same text: `kubectl explain asrfinetune.spec --recursive`. Decimals are
strings in quotes (`"5e-5"`), since the Kubernetes API has no floats; unknown fields are refused. A default with *
may be another one in a preset or a runtime: `asrtune explain FILE` says what a run gets, and from whom.
"""
_RECIPES = """
A recipe is a preset (a chain of stages with parameters) and what you change in it: [how](guide.md#recipes). What a
preset does not say is at its [default](api.md). `asrtune explain finetune.yaml` prints all values of a run and who
decided each.
"""
_BOUNDS = (
    ("minimum", "at least"),
    ("maximum", "at most"),
    ("minItems", "items: at least"),
    ("maxItems", "at most"),
)


def api() -> str:
    """The API reference: each kind, then each object in it once, in the order of its first mention."""
    parts = [
        _WRITTEN.format("the models in crds/asrtune_api"),
        "# API reference\n",
        f"{_paragraph(_API)}\n",
        "| kind | short | scope | what |\n|---|---|---|---|",
        *(_kind_row(kind) for kind in KINDS),
        "",
    ]
    models: dict[str, type[ApiModel]] = {}
    for kind in KINDS:
        parts += [f"## {kind.model.__name__}\n", f"{_paragraph(kind.model.__doc__)}\n"]
        roots = [model for name in ("spec", "status") if (model := _root(kind, name)) is not None]
        parts += [
            f"- `{name}`: {_link(model)}" for name, model in zip(("spec", "status"), roots, strict=False)
        ]
        parts.append("")
        for root in roots:
            for model in _reachable(root):
                models.setdefault(model.__name__, model)
    parts.append("## Objects\n")
    parts += [_section(model) for model in models.values()]
    return "\n".join(parts).rstrip() + "\n"


def _kind_row(kind: Kind) -> str:
    name = kind.model.__name__
    return f"| [{name}](#{name.lower()}) | {', '.join(kind.short)} | {kind.scope} | {_paragraph(kind.model.__doc__)} |"


def _root(kind: Kind, name: str) -> type[ApiModel] | None:
    return kind.status if name == "status" else nested_model(kind.model, "spec")


def _reachable(model: type[ApiModel]) -> Iterator[type[ApiModel]]:
    """The model and all below it, each before what it holds."""
    yield model
    for name in model.model_fields:
        inner = nested_model(model, name)
        if inner is not None and inner is not model:
            yield from _reachable(inner)


def _section(model: type[ApiModel]) -> str:
    schema = object_schema(model)
    required = set(schema.get("required", []))
    lines = [f"### {model.__name__}\n", f"{_cell(schema['description'])}\n"]
    if schema["properties"]:
        lines.append("| field | type | default | what |\n|---|---|---|---|")
    for name, field in model.model_fields.items():
        key = field.alias or name
        inner = schema["properties"][key]
        default = "required" if key in required else _default(inner, field_default=_said_default(inner))
        what = inner["description"].partition(" Default: ")[0]
        lines.append(f"| `{key}` | {_type(model, name, inner)} | {default} | {_cell(what)} |")
    lines.append("")
    if model.rules:
        lines += ["Rules:\n", *(f"- {_cell(rule.message)}" for rule in model.rules), ""]
    return "\n".join(lines)


def _said_default(schema: Schema) -> str | None:
    said = schema["description"].partition(" Default: ")[2]
    return said.removesuffix(" unless the preset says otherwise.") if said else None


def _default(schema: Schema, *, field_default: str | None) -> str:
    if field_default is not None:
        return f"`{field_default}` *"
    default = schema.get("default")
    return "" if default in (None, {}) else f"`{text_of(default)}`"


def _type(model: type[ApiModel], name: str, schema: Schema) -> str:
    inner = nested_model(model, name)
    if inner is not None:
        return f"list of {_link(inner)}" if schema["type"] == "array" else _link(inner)
    return _plain(schema)


def _plain(schema: Schema) -> str:
    if schema["type"] == "array":
        return f"list of {_plain(schema['items'])}{_bounds(schema)}"
    if schema["type"] == "object":
        return f"map of {_plain(schema['additionalProperties'])}"
    if "enum" in schema:
        return " \\| ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("pattern") == DECIMAL_PATTERN:
        bounds = [
            rule["message"].removeprefix("must be ") for rule in schema.get("x-kubernetes-validations", [])
        ]
        return ", ".join(["decimal", *bounds])
    return f"{schema['type']}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    said = [f"{words} {schema[key]:,}" for key, words in _BOUNDS if key in schema and schema[key] != 0]
    return f", {', '.join(said)}" if said else ""


def _link(model: type[ApiModel]) -> str:
    return f"[{model.__name__}](#{model.__name__.lower()})"


def recipes() -> str:
    """A page of the presets: what each is for, where its values come from, and its chain."""
    parts = [
        _WRITTEN.format("the presets in crds/asrtune_api/presets"),
        "# Recipes\n",
        f"{_paragraph(_RECIPES)}\n",
        *map(_recipe, map(load_preset, preset_names())),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _recipe(preset: Preset) -> str:
    rows = [f"| {stage.name} | {stage.type.value} | {_parameters(stage)} |" for stage in preset.stages]
    checkpoint = _values(preset.checkpoint)
    return "\n".join(
        [
            f"## {preset.name}\n",
            f"{_cell(preset.description)}\n",
            f"For {', '.join(preset.models)}. Its values: {_cell(preset.source)}\n",
            "| stage | type | parameters |\n|---|---|---|",
            *rows,
            "",
            *([f"Checkpoints: {checkpoint}.\n"] if checkpoint else []),
        ]
    )


def _parameters(stage: StageSpec) -> str:
    return _values(stage_params(stage))


def _values(model: ApiModel) -> str:
    written: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return ", ".join(f"`{name}: {text_of(value)}`" for name, value in written.items())


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    """Prose that cannot break a table."""
    return _paragraph(text).replace("|", "\\|").replace("<", "&lt;")


PAGES = {"api.md": api, "recipes.md": recipes}


def main() -> int:
    """Write the pages, or with --check only compare; the exit status is 1 when one is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a page is not what the models give")
    check = parser.parse_args().check
    stale = [(DOCS / name, text) for name, page in PAGES.items() if _read(DOCS / name) != (text := page())]
    for path, text in stale:
        if check:
            print(f"{path} is not what the models give: run `make generate`.", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 1 if stale and check else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
