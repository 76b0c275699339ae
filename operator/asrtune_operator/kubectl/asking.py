"""Work with a cluster, as every command but `render` does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from asrtune_operator.kubectl.failing import guarded
from asrtune_operator.kubectl.options import Where

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster

T = TypeVar("T")


def ask(where: Where, work: Callable[[Cluster], Awaitable[T]]) -> T:
    """Do some work with a cluster; what goes wrong ends the command with a message."""
    from asrtune_operator.kubectl.cluster import connect  # noqa: PLC0415 (the API client takes a second to load)

    async def connected() -> T:
        async with connect(where) as cluster:
            return await work(cluster)

    with guarded():
        return asyncio.run(connected())
