"""Kubernetes Events: one for each change, under a name that only this change has, so that none is told twice."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any, Final

from asrtune_api import API_VERSION
from asrtune_operator.kube.client import ApiError, ApiUnreachableError, Client
from asrtune_operator.state.objects import RunObject
from asrtune_operator.values.actions import Event
from asrtune_operator.values.kinds import EVENTS
from asrtune_operator.values.names import MANAGER, shorten

_log = logging.getLogger(__name__)
_LONGEST: Final = 1024
"""Characters that an Event's message may have."""
_LONGEST_NAME: Final = 180


async def tell(client: Client, run: RunObject, event: Event) -> None:
    """Post and log an event about a run, once. One that cannot be posted is logged alone, and the run goes on."""
    try:
        if await client.create(EVENTS, _manifest(run, event)) is None:
            return  # told before a death or a conflict, whose plan is made anew
    except (ApiError, ApiUnreachableError) as error:
        _log.warning("an event could not be posted", extra={"event": event.reason, "error": str(error)})
    _log.info(
        event.message,
        extra={"run": f"{run.identity.namespace}/{run.identity.name}", "event": event.reason},
    )


def _manifest(run: RunObject, event: Event) -> dict[str, Any]:
    identity = run.identity
    said = f"{identity.uid} {event.occasion} {event.reason}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:12]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {
            "namespace": identity.namespace,
            "name": f"{shorten(identity.name, _LONGEST_NAME)}.{digest}",
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": identity.kind,
            "namespace": identity.namespace,
            "name": identity.name,
            "uid": identity.uid,
            "resourceVersion": run.version,
        },
        "type": event.type.value,
        "reason": event.reason,
        "message": event.message[:_LONGEST],
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
    }
