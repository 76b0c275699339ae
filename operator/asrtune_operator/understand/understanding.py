"""Intake with its inputs: finds what a custom resource names in the store, and remembers what it came to."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from asrtune_api.errors import SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.resolve_evaluation import finetunes_of
from asrtune_api.runspec import parse_runspec
from asrtune_api.status import Phase, RunStatus
from asrtune_operator.kube.client import Client
from asrtune_operator.state.objects import RunObject, RuntimeObject
from asrtune_operator.state.store import Store
from asrtune_operator.understand.intake import Manifest, Surroundings, digest_of, parse, understand
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, CONFIG_MAPS, Resource
from asrtune_operator.values.places import RUN_KEY
from asrtune_operator.values.run import Run, Unready

_ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Names:
    """What a generation of a manifest names: enough to see whether anything has changed without reading it again."""

    generation: int
    runtime: tuple[str, str]
    """Kind and name."""
    finetunes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    names: Names
    key: Hashable
    found: Run | Unready


class Understanding:
    """What every run came to, as long as nothing that decides it changes."""

    def __init__(self, client: Client, store: Store, image: str) -> None:
        self._client = client
        self._store = store
        self._image = image
        self._served: frozenset[Resource] = frozenset()
        self._known: dict[str, _Known] = {}

    def serve(self, served: Collection[Resource]) -> None:
        """Say which kinds the API server serves."""
        self._served = frozenset(served)

    def known(self, uid: str) -> Run | None:
        """What a run came to last."""
        known = self._known.get(uid)
        return known.found if known is not None and isinstance(known.found, Run) else None

    def forget(self, uid: str) -> None:
        """A run is gone."""
        self._known.pop(uid, None)

    async def of(self, run: RunObject, status: RunStatus) -> Run | Unready:
        """What a run comes to.

        Raises:
            ApiError: its ConfigMap may not be read.
            ApiUnreachableError: no answer.
        """
        known = self._known.get(run.uid)
        if known is not None and known.key == self._key(run, known.names) and _holds(known.found, status):
            return known.found
        manifest = parse(run)
        if isinstance(manifest, Unready):
            return manifest
        names = _names(run, manifest)
        key = self._key(run, names)
        edited = _edited(manifest, status)
        around = Surroundings(
            runtime=self._runtime(run, names),
            runtimes=self._store.runtime_names(names.runtime[0], run.identity.namespace),
            finetunes=self._finetunes(run, names),
            served=self._served,
            image=self._image,
            kept=await self._kept(run, manifest, status, edited=edited),
            digest=status.spec_digest if edited else None,
        )
        found = understand(run, manifest, around)
        self._known[run.uid] = _Known(names, key, found)
        return found

    def _key(self, run: RunObject, names: Names) -> Hashable:
        """All that decides what a run with these names comes to."""
        runtime = self._runtime(run, names)
        finetunes = self._finetunes(run, names)
        return (
            run.generation == names.generation,
            run.retry,
            (runtime.uid, runtime.version) if runtime else None,
            tuple((name, one.uid, one.version) for name, one in finetunes.items()),
            self._served,
        )

    def _runtime(self, run: RunObject, names: Names) -> RuntimeObject | None:
        kind, name = names.runtime
        return self._store.runtime(kind, run.identity.namespace, name)

    def _finetunes(self, run: RunObject, names: Names) -> Mapping[str, RunObject]:
        namespace = run.identity.namespace
        found = {name: self._store.named("ASRFinetune", namespace, name) for name in names.finetunes}
        return {name: one for name, one in found.items() if one is not None}

    async def _kept(
        self, run: RunObject, manifest: Manifest, status: RunStatus, *, edited: bool
    ) -> str | None:
        """The RunSpec that a run under way goes by, whatever an upgrade or a runtime would decide now."""
        ended = status.phase in _ENDED and run.retry in {None, status.retried}
        other = status.spec_digest != digest_of(manifest) and not edited
        if status.run_spec is None or ended or other:
            return None
        found = await self._client.get(CONFIG_MAPS, run.identity.namespace, status.run_spec)
        text = str(((found or {}).get("data") or {}).get(RUN_KEY, ""))
        try:
            parse_runspec(text)
        except SpecInvalidError:  # it is gone, or of a version that this operator does not write any more
            return None
        return text


def _edited(manifest: Manifest, status: RunStatus) -> bool:
    """Whether pods run for what the manifest was before: they go on."""
    runs = status.phase is Phase.RUNNING and status.run_spec is not None
    return runs and status.spec_digest not in {None, digest_of(manifest)}


def _holds(found: Run | Unready, status: RunStatus) -> bool:
    """An edit waits only as long as pods run."""
    return not (isinstance(found, Run) and found.edited) or status.phase is Phase.RUNNING


def _names(run: RunObject, manifest: Manifest) -> Names:
    named = manifest.spec.runtime_ref
    return Names(
        run.generation,
        (named.kind, named.name) if named else (CLUSTER_RUNTIMES.kind, "default"),
        tuple(finetunes_of(manifest.spec)) if isinstance(manifest, ASREvaluation) else (),
    )
