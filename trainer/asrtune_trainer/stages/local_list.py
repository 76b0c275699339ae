"""A list of utterances whose audio lies on this machine: fetched once a node, before its processes start."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asrtune_trainer.data.cache import AudioCache, is_remote
from asrtune_trainer.data.utterance import read_utterances, write_utterances
from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.stages.progress import Progress
from asrtune_trainer.telemetry.events import Waiting, WaitKind


@contextmanager
def waiting(context: StageContext, what: str) -> Iterator[None]:
    """Say that the stage waits for a download."""
    context.telemetry.emit(Waiting(context.stage.name, WaitKind.DOWNLOAD, what))
    yield
    context.telemetry.emit(Waiting(context.stage.name, WaitKind.NOTHING))


def local_list(context: StageContext, role: str) -> Path:
    """The last list of a role (train, validation), with local paths as sources.

    Raises:
        DataInvalidError: audio is gone that was there when the data was prepared.
        StorageUnavailableError: the storage cannot be reached.
    """
    path = context.latest(role).path(role)
    utterances = list(read_utterances(path))
    remote = sum(is_remote(one.source) for one in utterances)
    if not remote:
        return path
    with waiting(context, f"for {remote} recordings of the {role} list"):
        progress = Progress(context, "fetched", remote)
        here = AudioCache(context.scratch, context.stores).localise(utterances, progress.step)
    name = hashlib.sha256(f"{context.uri} {role}".encode()).hexdigest()[:16]
    local = context.scratch / "lists" / f"{name}.jsonl"
    write_utterances(local, here)
    return local
