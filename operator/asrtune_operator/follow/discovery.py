"""Which kinds the API server serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from asrtune_operator.kube.client import Client
from asrtune_operator.values.kinds import Resource

_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def discover(client: Client) -> frozenset[Resource]:
    """All kinds, in one request (Kubernetes 1.30 and later); everybody who is logged in may ask.

    Raises:
        ApiError: refused.
        ApiUnreachableError: no answer.
    """
    core, groups = await client.read("/api", _AGGREGATED), await client.read("/apis", _AGGREGATED)
    return frozenset(one for document in (core, groups) for one in _resources(document))


def _resources(document: dict[str, Any]) -> Iterator[Resource]:
    for group in document.get("items") or ():
        for version in group.get("versions") or ():
            for one in version.get("resources") or ():
                kind = one.get("responseKind", {}).get("kind", "")
                yield Resource(group["metadata"].get("name", ""), version["version"], one["resource"], kind)
