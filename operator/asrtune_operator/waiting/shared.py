"""A list that all runs share: asked for when somebody needs it, and not again before it is old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from asrtune_operator.kube.client import ApiError, ApiUnreachableError

T = TypeVar("T")
_log = logging.getLogger(__name__)
DENIED_SECONDS: Final = 60.0
"""After a refusal it is not asked again for so long: rights are seldom given while one waits."""
SHARE: Final = 0.05
"""Part of the time that may be spent on it: a list that takes two seconds is believed for forty."""


class Shared(Generic[T]):
    """The answer to one question; None where it may not be asked, or nobody has answered yet."""

    def __init__(self, what: str, fetch: Callable[[], Awaitable[T]], seconds: float) -> None:
        """Ask nothing yet.

        Args:
            what: for the log.
            fetch: asks.
            seconds: how long an answer is believed.
        """
        self._what = what
        self._fetch = fetch
        self._seconds = seconds
        self._answer: T | None = None
        self._until = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> T | None:
        """The answer, at most so many seconds old. A failure is no error: a wait is then explained by less."""
        async with self._lock:
            clock = asyncio.get_running_loop().time
            if (started := clock()) < self._until:
                return self._answer
            pause = self._seconds
            try:
                self._answer = await self._fetch()
            except ApiError as error:
                if error.status in {401, 403, 404}:
                    pause, self._answer = DENIED_SECONDS, None
                _log.warning(
                    "waits are explained without it", extra={"what": self._what, "error": str(error)}
                )
            except ApiUnreachableError as error:
                _log.warning(
                    "waits are explained without it", extra={"what": self._what, "error": str(error)}
                )
            ended = clock()
            self._until = ended + max(pause, (ended - started) / SHARE)
            return self._answer
