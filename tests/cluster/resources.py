"""What an API server serves, and under which path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resource:
    """A kind and where its objects lie."""

    api_version: str
    kind: str
    names: frozenset[str]
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The path of an object, or of the list where no name is given (all namespaces where that is None)."""
        root = "/api" if "/" not in self.api_version else "/apis"
        inside = ["namespaces", namespace] if self.namespaced and namespace else []
        parts = [root, self.api_version, *inside, self.plural, name, subresource]
        return "/".join(part for part in parts if part)


def parse(discovery: dict[str, Any]) -> Iterator[Resource]:
    """The resources of an aggregated discovery document, in the server's order of preference."""
    for group in discovery["items"]:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for one in version.get("resources", []):
                yield _resource(api_version, one)


def find(resources: Sequence[Resource], kind: str) -> Resource | None:
    """The first that goes by a name: `pods`, `Pod`, `po`, or the whole, `batch/v1/Job`."""
    for resource in resources:
        if kind in resource.names:
            return resource
    return None


def _resource(api_version: str, document: dict[str, Any]) -> Resource:
    kind = document["responseKind"]["kind"]
    plural = document["resource"]
    names = {
        kind,
        plural,
        document.get("singularResource", ""),
        *document.get("shortNames", []),
        f"{api_version}/{kind}",
        f"{plural}.{api_version.partition('/')[0]}",
    }
    return Resource(api_version, kind, frozenset(names - {""}), plural, document["scope"] == "Namespaced")
