"""Nodes that are gone or do not answer: asked for only where a pod gives cause, so that no node is watched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from asrtune_operator.kube.client import ApiError, Client
from asrtune_operator.values.kinds import NODES
from asrtune_operator.values.observed import PodView

_log = logging.getLogger(__name__)
FRESH: Final = 10.0
"""Seconds that an answer is believed."""
PATIENCE: Final = 60.0
"""Seconds that nobody is asked after a refusal: in a namespaced installation each would be refused."""
_FORBIDDEN: Final = 403


class Nodes:
    """Asks for single nodes, each at most once in ten seconds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, tuple[float, bool]] = {}
        self._refused = float("-inf")

    async def lost(self, pods: Sequence[PodView]) -> frozenset[str]:
        """Names of the lost nodes of pods that look as if theirs were.

        Raises:
            ApiError: a failure.
            ApiUnreachableError: no answer.
        """
        suspects = {pod.node for pod in pods if pod.node and _suspect(pod)}
        return frozenset([name for name in suspects if await self._is_lost(name)])

    async def _is_lost(self, name: str) -> bool:
        now = asyncio.get_running_loop().time()
        at, lost = self._known.get(name, (float("-inf"), False))
        if now - at < FRESH or now - self._refused < PATIENCE:
            return lost
        try:
            found = await self._client.get(NODES, None, name)
        except ApiError as error:
            if error.status != _FORBIDDEN:
                raise
            self._refused = now
            _log.info("nodes may not be read: the loss of one shows only when its pods are deleted")
            return False
        lost = found is None or _unreachable(found)
        self._known = {key: value for key, value in self._known.items() if now - value[0] < FRESH}
        self._known[name] = (now, lost)
        return lost


def _suspect(pod: PodView) -> bool:
    """Not ended, and either not ready though it runs (the node controller says so), or overdue to be gone."""
    if pod.ended:
        return False
    ready = pod.conditions.get("Ready")
    overdue = pod.deleting is not None and pod.deleting < datetime.now(UTC)
    return overdue or (pod.phase == "Running" and ready is not None and not ready.true)


def _unreachable(node: dict[str, Any]) -> bool:
    """Whether its kubelet is not heard of any more. A node that says itself that it is not ready still answers."""
    for one in node.get("status", {}).get("conditions") or ():
        if one["type"] == "Ready":
            return bool(one["status"] == "Unknown")
    return False
