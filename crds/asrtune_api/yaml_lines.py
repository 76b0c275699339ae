"""YAML as the API server would read it, with the line of every value."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from asrtune_api.errors import SpecInvalidError
from asrtune_api.problems import Loc

MAX_BYTES = 1_000_000  # etcd takes no larger object either
MAX_NODES = 100_000  # aliases can make a small file very large
MERGE_KEY = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a YAML file."""

    value: Any
    lines: dict[Loc, int] = field(default_factory=dict)
    """Location -> line, from 1."""

    def line(self, loc: Loc) -> int:
        """Line of a location, or of the nearest thing around it that is there."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)


class ManifestLoader(yaml.SafeLoader):
    """PyYAML with YAML 1.2's numbers, as kubectl has them: 1e-3 is a number, 1:30 and 2026-01-01 are text."""


ManifestLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rsplit(":", 1)[1] not in {"int", "float", "timestamp"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
ManifestLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(0x[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$"), list("-+0123456789")
)
ManifestLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def read_documents(text: str | bytes, name: str) -> list[Document]:
    """Read all documents of a file.

    Args:
        text: the file's content.
        name: the file's name, for messages.

    Raises:
        SpecInvalidError: not UTF-8, not YAML, a key twice in one mapping, or too large.
    """
    if len(text) > MAX_BYTES:
        raise _invalid(name, f"is larger than {MAX_BYTES} bytes")
    try:
        content = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise _invalid(name, "is not UTF-8 text") from error
    try:
        loader = ManifestLoader(content)
        documents = []
        while (node := loader.get_node() if loader.check_node() else None) is not None:
            reader = _Reader(loader, name)
            documents.append(Document(reader.read(node, ()), reader.lines))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _invalid(f"{name}:{line}", f"is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _invalid(name, f"is not YAML: {' '.join(str(error).split())}") from error
    return documents


def read_value(text: str, name: str) -> Any:
    """One value as it would stand in a manifest.

    Raises:
        SpecInvalidError: it is not YAML, or several documents.
    """
    documents = read_documents(text, name)
    if len(documents) > 1:
        raise _invalid(name, "is more than one document")
    return documents[0].value if documents else None


class _Reader:
    """Turns the nodes of one document into values; PyYAML itself keeps no lines and takes the last of two keys."""

    def __init__(self, loader: ManifestLoader, name: str) -> None:
        self.lines: dict[Loc, int] = {}
        self._loader = loader
        self._name = name
        self._nodes = 0

    def read(self, node: yaml.Node, loc: Loc) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _invalid(self._name, f"holds more than {MAX_NODES} values")
        self.lines.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*loc, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node, deep=True)

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == MERGE_KEY:
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            key: Hashable = self._loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _invalid(
                    f"{self._name}:{line}", f"the key {key_node.value!r} is not text: write it in quotes"
                )
            if key in values:
                first = self.lines[*loc, key]
                raise _invalid(
                    f"{self._name}:{line}", f'the key "{key}" is there twice, first in line {first}'
                )
            self.lines[*loc, key] = line
            values[key] = self.read(value_node, (*loc, key))
        for other in merged:
            inherited = self.read(other, loc)
            if not isinstance(inherited, dict):
                raise _invalid(f"{self._name}:{other.start_mark.line + 1}", "<< must name a mapping")
            values = {**inherited, **values}
        return values


def _invalid(where: str, message: str) -> SpecInvalidError:
    return SpecInvalidError(f"{message}.", where=where, reason="ManifestInvalid")
