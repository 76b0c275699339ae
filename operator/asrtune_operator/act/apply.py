"""Carries out a plan: first what is made, then the news, then the status, then what is deleted. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asrtune_operator.act.events import tell
from asrtune_operator.act.refusals import refusal
from asrtune_operator.act.statuses import difference, dump_status
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.backends.trainjob import RUNTIME
from asrtune_operator.kube.client import ApiError, Client
from asrtune_operator.state.objects import RunObject, child, run_object
from asrtune_operator.state.store import Store
from asrtune_operator.values.actions import CreateGang, DeleteWorkload, Plan
from asrtune_operator.values.kinds import CONFIG_MAPS, SERVICES, Resource
from asrtune_operator.values.observed import Wait
from asrtune_operator.values.run import Run

RESOURCES = {
    (one.api_version, one.kind): one
    for one in (CONFIG_MAPS, SERVICES, RUNTIME, *(backend.resource for backend in BACKENDS.values()))
}
"""Every kind that a backend renders."""


class StaleError(Exception):
    """The run has changed since the plan was made: it has to be made anew."""


@dataclass(frozen=True, slots=True)
class Applier:
    """Writes to the API server, and files the answers in the store, so that the next plan sees them."""

    client: Client
    store: Store

    async def create(self, run: Run, gangs: Sequence[CreateGang]) -> Wait | None:
        """Make gangs. Returns why the API server refuses one of them.

        Raises:
            ApiError: a failure that is no refusal.
            ApiUnreachableError: no answer.
        """
        for gang in gangs:
            backend = BACKENDS[run.backend_of(gang.unit)]
            try:
                for manifest in backend.render(run, gang.unit, gang.attempt):
                    made = await self.client.apply(_resource(manifest), manifest)
                    if manifest["kind"] == backend.resource.kind:
                        self.store.put(backend.resource, child(made, backend.view(made)))
            except ApiError as error:
                if (wait := refusal(error)) is None:
                    raise
                return wait
        return None

    async def tell(self, run: RunObject, plan: Plan) -> None:
        """Tell the news. Told anew after a death before the status was written, they are the same events."""
        for event in plan.events:
            await tell(self.client, run, event)

    async def write(self, run: RunObject, plan: Plan) -> bool:
        """Write the status where it differs. Returns whether it did.

        Raises:
            StaleError: the run has changed, or is gone.
            ApiError: a failure.
            ApiUnreachableError: no answer.
        """
        patch = difference(run.status, dump_status(plan.status))
        if not patch:
            return False
        identity = run.identity
        try:
            made = await self.client.patch_status(
                run.resource, identity.namespace, identity.name, patch, run.version
            )
        except ApiError as error:
            if error.status in {404, 409}:
                raise StaleError(str(error)) from error
            raise
        made.setdefault("kind", identity.kind)
        self.store.put(run.resource, run_object(made))
        return True

    async def finish(self, run: RunObject, plan: Plan) -> None:
        """Delete, once the status is written.

        Raises:
            ApiError: a failure.
            ApiUnreachableError: no answer.
        """
        for action in plan.actions:
            if isinstance(action, DeleteWorkload):
                resource = BACKENDS[action.workload.backend].resource
                namespace, view = run.identity.namespace, action.workload
                if not await self.client.delete(resource, namespace, view.name, uid=view.uid):
                    self.store.drop(resource, view.uid)  # it is gone, and nobody has told


def _resource(manifest: dict[str, Any]) -> Resource:
    return RESOURCES[manifest["apiVersion"], manifest["kind"]]
