"""Leader election by a Lease: one operator works, the others wait."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from asrtune_operator.kube.client import ApiError, ApiUnreachableError, Client
from asrtune_operator.values.kinds import LEASES

_log = logging.getLogger(__name__)
CONFLICT: Final = 409
NOT_FOUND: Final = 404
_TAKEN: Final = "another operator holds the lease"


class LeaseLostError(Exception):
    """Another operator may be working now: this one must not go on."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Which Lease, and whose.

    Attributes:
        holder: name of this process; no two may share it.
        seconds: how long the Lease is valid without a renewal.
    """

    namespace: str
    name: str
    holder: str
    seconds: float


class Lease:
    """From `acquire` on, `keep` renews it until it is lost; `release` lets the next one start at once.

    Another's Lease counts as run out when it has not changed for its duration by this machine's clock: clocks of two
    machines are never compared.
    """

    def __init__(self, client: Client, settings: LeaseSettings) -> None:
        self._client = client
        self._settings = settings
        self._held: dict[str, Any] | None = None
        self._renewed = 0.0
        self._seen: tuple[str, float] = ("", 0.0)

    @property
    def held(self) -> bool:
        """Whether this process may work."""
        return self._held is not None

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        told = None
        while obstacle := await self._try():
            if obstacle != told:
                level = logging.INFO if obstacle == _TAKEN else logging.WARNING
                _log.log(level, f"{obstacle}; waiting", extra={"lease": self._settings.name})
                told = obstacle
            await asyncio.sleep(self._settings.seconds / 5)
        _log.info("the lease is held", extra={"lease": self._settings.name, "holder": self._settings.holder})

    async def keep(self) -> None:
        """Renew it for ever.

        Raises:
            LeaseLostError: it is another's, or it could not be renewed in time.
        """
        while True:
            await asyncio.sleep(self._settings.seconds / 5)
            limit = self._renewed + self._settings.seconds * 0.8
            try:
                async with asyncio.timeout_at(limit):
                    await self._renew()
            except TimeoutError as error:
                self._held = None
                raise LeaseLostError("the lease could not be renewed in time") from error

    async def release(self) -> None:
        """Give it up."""
        if self._held is None:
            return
        held, self._held = self._held, None
        held["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            await self._client.replace(LEASES, held)
        except (ApiError, ApiUnreachableError) as error:
            _log.warning(
                "the lease could not be released; it runs out by itself", extra={"error": str(error)}
            )

    async def _renew(self) -> None:
        while True:
            assert self._held is not None
            started = asyncio.get_running_loop().time()
            self._held["spec"]["renewTime"] = _now()
            try:
                self._held = await self._client.replace(LEASES, self._held)
            except (ApiUnreachableError, ApiError) as error:
                if not await self._still_ours(error):
                    self._held = None
                    raise LeaseLostError(f"the lease was lost: {error}") from error
                continue
            self._renewed = started
            return

    async def _still_ours(self, error: Exception) -> bool:
        """Whether a failure means nothing: the time-out of `keep` ends what goes on for too long.

        An answer may have been lost, somebody has put a label on the Lease, or a server that has just started does not
        know our rights yet.
        """
        if not isinstance(error, ApiError) or error.status not in {CONFLICT, NOT_FOUND}:
            await asyncio.sleep(self._settings.seconds / 15)
            return True
        found = await self._client.get(LEASES, self._settings.namespace, self._settings.name)
        if found is None or found["spec"].get("holderIdentity") != self._settings.holder:
            return False
        self._held = found
        return True

    async def _try(self) -> str:
        """Take it, or say what is in the way; empty: nothing was."""
        started = asyncio.get_running_loop().time()
        try:
            found = await self._client.get(LEASES, self._settings.namespace, self._settings.name)
            taken = await self._create() if found is None else await self._take(found)
        except ApiUnreachableError as error:
            return f"the API server does not answer: {error}"
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            return _TAKEN
        if taken is None:
            return _TAKEN
        self._held, self._renewed = taken, started
        return ""

    async def _create(self) -> dict[str, Any] | None:
        metadata = {"namespace": self._settings.namespace, "name": self._settings.name}
        document = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
        return await self._client.create(LEASES, {**document, "spec": self._spec(0)})

    async def _take(self, found: dict[str, Any]) -> dict[str, Any] | None:
        spec = found.get("spec") or {}
        holder, version = spec.get("holderIdentity"), found["metadata"]["resourceVersion"]
        now = asyncio.get_running_loop().time()
        if version != self._seen[0]:
            self._seen = (version, now)
        waited = now - self._seen[1]
        if holder and holder != self._settings.holder and waited < spec.get("leaseDurationSeconds", 0):
            return None
        found["spec"] = self._spec(spec.get("leaseTransitions", 0) + 1)
        return await self._client.replace(LEASES, found)

    def _spec(self, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._settings.holder,
            "leaseDurationSeconds": max(1, round(self._settings.seconds)),
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": transitions,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
