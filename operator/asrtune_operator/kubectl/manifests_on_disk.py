"""Manifests in files, as the API server would hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from asrtune_api.yaml_lines import read_documents
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.state.objects import RunObject, RuntimeObject, run_object, runtime_object
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, RUN_KINDS, RUNTIMES

NO_UID: Final = "00000000-0000-0000-0000-000000000000"
"""Stands for the uid that the API server gives."""
_RUNTIME_KINDS: Final = frozenset({RUNTIMES.kind, CLUSTER_RUNTIMES.kind})
_RUN_KINDS: Final = frozenset(RUN_KINDS)


@dataclass(frozen=True, slots=True)
class Files:
    """What stands in some files."""

    runs: Sequence[RunObject]
    runtimes: Sequence[RuntimeObject]

    def with_others(self, others: Files) -> Files:
        """What stands in these and in other files."""
        return Files([*self.runs, *others.runs], [*self.runtimes, *others.runtimes])

    def finetunes(self) -> Mapping[str, RunObject]:
        """The ASRFinetunes by name."""
        return {one.identity.name: one for one in self.runs if not one.identity.evaluation}

    def runtime(self, kind: str, name: str) -> RuntimeObject | None:
        """A runtime, None where it stands in no file."""
        return next((one for one in self.runtimes if (one.kind, one.name) == (kind, name)), None)


def read_files(paths: Iterable[Path], namespace: str) -> Files:
    """The runs and runtimes in YAML files; documents of other kinds are passed over.

    Args:
        paths: the files.
        namespace: of what names none.

    Raises:
        PluginError: a file cannot be read.
        SpecInvalidError: it is no YAML.
    """
    runs: list[RunObject] = []
    runtimes: list[RuntimeObject] = []
    for path in paths:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise PluginError(f"cannot be read: {error.strerror}.", where=str(path)) from None
        for document in read_documents(text, str(path)):
            kind = document.value.get("kind") if isinstance(document.value, dict) else None
            where = f"{path}:{document.line(('metadata',))}"
            if kind in _RUN_KINDS:
                runs.append(run_object(_stored(document.value, namespace, where)))
            elif kind in _RUNTIME_KINDS:
                runtimes.append(runtime_object(_stored(document.value, namespace, where)))
    return Files(runs, runtimes)


def with_backend(run: RunObject, backend: str) -> RunObject:
    """The run as if its manifest named this backend."""
    execution = {**(run.spec.get("execution") or {}), "backend": backend}
    return replace(run, spec={**run.spec, "execution": execution})


def _stored(document: Mapping[str, Any], namespace: str, where: str) -> dict[str, Any]:
    """With what the API server adds."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise PluginError("metadata.name is missing.", where=where, remedy="Give the object a name.")
    added = {
        "uid": NO_UID,
        "resourceVersion": "0",
        "generation": 1,
        "creationTimestamp": "1970-01-01T00:00:00Z",
    }
    whole = {"namespace": namespace, **metadata, **added}
    return {**document, "metadata": {key: value for key, value in whole.items() if value is not None}}
