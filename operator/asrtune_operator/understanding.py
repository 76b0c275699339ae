"""Intake with its inputs: finds what a custom resource names in the store, and remembers what it came to."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Final

from asrtune_api.errors import SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.resolve_evaluation import finetunes_of
from asrtune_api.runspec import parse_runspec
from asrtune_api.status import Phase, RunStatus
from asrtune_operator.backends.base import Resource
from asrtune_operator.client import Client
from asrtune_operator.intake import Manifest, Surroundings, digest_of, parse, understand
from asrtune_operator.kinds import CLUSTER_RUNTIMES, CONFIG_MAPS, RunObject, RuntimeObject
from asrtune_operator.places import RUN_KEY
from asrtune_operator.run import Run, Unready
from asrtune_operator.store import Store

_ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED})


class Understanding:
    """What every run came to, as long as nothing that decides it changes."""

    def __init__(self, client: Client, store: Store, image: str) -> None:
        self._client = client
        self._store = store
        self._image = image
        self._served: frozenset[Resource] = frozenset()
        self._known: dict[str, tuple[Hashable, Run | Unready]] = {}

    def serve(self, served: Collection[Resource]) -> None:
        """Say which kinds the API server serves."""
        self._served = frozenset(served)

    def known(self, uid: str) -> Run | None:
        """What a run came to last."""
        found = self._known.get(uid)
        return found[1] if found is not None and isinstance(found[1], Run) else None

    def forget(self, uid: str) -> None:
        """A run is gone."""
        self._known.pop(uid, None)

    async def of(self, run: RunObject, status: RunStatus) -> Run | Unready:
        """What a run comes to.

        Raises:
            ApiError: its ConfigMap may not be read.
            ApiUnreachableError: no answer.
        """
        manifest = parse(run)
        if isinstance(manifest, Unready):
            return manifest
        runtime, finetunes = self._runtime(run, manifest), self._finetunes(run, manifest)
        versions = tuple((name, one.uid, one.version) for name, one in finetunes.items())
        runs_on = (runtime.uid, runtime.version) if runtime else None
        key = (run.generation, run.retry, runs_on, versions, self._served)
        found = self._known.get(run.uid)
        if found is not None and found[0] == key:
            return found[1]
        around = Surroundings(
            runtime=runtime,
            finetunes=finetunes,
            served=self._served,
            image=self._image,
            kept=await self._kept(run, manifest, status),
        )
        made = understand(run, manifest, around)
        self._known[run.uid] = (key, made)
        return made

    def _runtime(self, run: RunObject, manifest: Manifest) -> RuntimeObject | None:
        named = manifest.spec.runtime_ref
        kind, name = (named.kind, named.name) if named else (CLUSTER_RUNTIMES.kind, "default")
        return self._store.runtime(kind, run.identity.namespace, name)

    def _finetunes(self, run: RunObject, manifest: Manifest) -> Mapping[str, RunObject]:
        if not isinstance(manifest, ASREvaluation):
            return {}
        names = finetunes_of(manifest.spec)
        found = {name: self._store.named("ASRFinetune", run.identity.namespace, name) for name in names}
        return {name: one for name, one in found.items() if one is not None}

    async def _kept(self, run: RunObject, manifest: Manifest, status: RunStatus) -> str | None:
        """The RunSpec that a run under way goes by, whatever an upgrade or a runtime would decide now."""
        ended = status.phase in _ENDED and run.retry in {None, status.retried}
        if status.run_spec is None or ended or status.spec_digest != digest_of(manifest):
            return None
        found = await self._client.get(CONFIG_MAPS, run.identity.namespace, status.run_spec)
        text = str(((found or {}).get("data") or {}).get(RUN_KEY, ""))
        try:
            parse_runspec(text)
        except SpecInvalidError:  # it is gone, or of a version that this operator does not write any more
            return None
        return text
