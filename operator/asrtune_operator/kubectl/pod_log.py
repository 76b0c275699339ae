"""The log of one pod, from its start to its end, whatever breaks off between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asrtune_operator.kube.client import ApiError, ApiUnreachableError
from asrtune_operator.kubectl.cluster import Cluster
from asrtune_operator.kubectl.interleave import Line, parse_line
from asrtune_operator.values.kinds import PODS
from asrtune_operator.values.observed import PodView

_PERIOD_SECONDS: Final = 2.0
_NOT_STARTED, _NOT_FOUND = 400, 404
_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(slots=True)
class PodLog:
    """The log of a pod.

    Attributes:
        cluster: where the pod is.
        pod: the pod.
        follow: wait for its start, and for more lines until it has ended.
        tail: only so many lines at the end.
        remark: gets what is worth telling, such as that it has not started.
    """

    cluster: Cluster
    pod: PodView
    follow: bool
    tail: int | None
    remark: Callable[[str], None]
    _last: Line | None = None

    async def lines(self) -> AsyncIterator[Line]:
        """Its lines.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer, and nobody follows.
        """
        while True:
            async for line in self._read():
                yield line
            if not self.follow or await self._ended():
                return
            await asyncio.sleep(_PERIOD_SECONDS)

    async def _read(self) -> AsyncIterator[Line]:
        """What one request brings, from where the one before it broke off."""
        told = self._last.time if self._last is not None else -1
        try:
            async for raw in self.cluster.log(self.pod.name, self._query()):
                line = parse_line(raw, self._last.time if self._last is not None else 0)
                if line.time > told:
                    self._last = line
                    yield line
        except ApiUnreachableError:
            if not self.follow:
                raise
        except ApiError as error:
            self._explain(error)
            return
        if self._last is None and not self.follow:  # what an unscheduled pod answers, too
            self.remark(f"{self.pod.name} has written nothing yet.")

    def _query(self) -> dict[str, str]:
        query = {"follow": "true"} if self.follow else {}
        if self._last is not None:
            since = datetime.fromtimestamp(self._last.time // 10**9, UTC)
            return {**query, "sinceTime": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return query if self.tail is None else {**query, "tailLines": str(self.tail)}

    def _explain(self, error: ApiError) -> None:
        if error.status == _NOT_FOUND:
            self.remark(f"{self.pod.name} is gone.")
        elif error.status != _NOT_STARTED:
            raise error
        elif not self.follow:
            self.remark(f"{self.pod.name} has written nothing yet: {error.message}.")

    async def _ended(self) -> bool:
        try:
            found = await self.cluster.client.get(PODS, self.cluster.namespace, self.pod.name)
        except ApiUnreachableError:
            self.remark("The cluster does not answer; trying again.")
            return False
        if found is None or found["metadata"]["uid"] != self.pod.uid:
            return True
        return found["status"].get("phase") in _ENDED
