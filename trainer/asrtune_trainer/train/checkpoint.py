"""Checkpoints: complete or not there. Weights and optimiser state lie apart; writing happens beside training.

A checkpoint is a directory `step-N` with a manifest that lists every file's size and SHA-256. It is
written under another name, flushed, and renamed; a reader looks only at `step-N` and believes only what
the manifest proves.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from asrtune_api.errors import StorageUnavailableError
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.storage.atomic import (
    discard_directory,
    remove_all_partials,
    staged_directory,
    staged_file,
)
from asrtune_trainer.train.progress import Progress

MANIFEST = "manifest.json"
WEIGHTS = "model.pt"
OPTIMIZER = "optimizer.pt"
RANKS = "ranks.pt"
_RESUME_ONLY = (OPTIMIZER, RANKS)


class CheckpointFile(BaseModel):
    """A file of a checkpoint."""

    size: int
    sha256: str


class CheckpointManifest(BaseModel):
    """What proves that a checkpoint is complete."""

    step: int
    files: dict[str, CheckpointFile]
    progress: Progress


@dataclass(frozen=True)
class TrainingState:
    """Everything that resuming needs, on the CPU and free of aliases to live tensors."""

    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]
    ranks: list[Any]
    """Random state of each rank."""
    progress: Progress


def random_state() -> dict[str, Any]:
    """This process's random state: torch, CUDA, Python, NumPy."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 (FunASR draws from the global state)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    random.setstate(_tuples(state["python"]))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def to_cpu(value: Any) -> Any:
    """A deep copy with every tensor on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: to_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_cpu(item) for item in value]
    if isinstance(value, tuple):
        return tuple(to_cpu(item) for item in value)
    return value


class Checkpoints:
    """The checkpoints of one training stage.

    Args:
        directory: where they lie.
        keep_last: resumable ones to keep.
        mirror: copies them to the output URI.
        published: called when a checkpoint is complete there.
    """

    def __init__(
        self, directory: Path, *, keep_last: int, mirror: Mirror, published: Callable[[], None]
    ) -> None:
        self._directory = directory
        self._keep_last = keep_last
        self._mirror = mirror
        self._published = published
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[float] | None = None

    def save(self, state: TrainingState, keep: set[int], done: Callable[[float], None]) -> None:
        """Write a checkpoint in the background; at most one is under way.

        Args:
            state: what to save; must not change afterwards.
            keep: steps of the best checkpoints, which stay (without optimiser state).
            done: called from the writing thread with the seconds it took.
        """
        self.wait()

        def work() -> float:
            started = time.monotonic()
            self._write(state)
            self._prune(keep)
            seconds = time.monotonic() - started
            done(seconds)
            return seconds

        self._pending = self._writer.submit(work)

    def wait(self) -> None:
        """Until the checkpoint under way is complete; raises what went wrong in writing it."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def latest(self) -> CheckpointManifest | None:
        """The newest complete, resumable checkpoint. All newer ones are removed: they would count as the last."""
        remove_all_partials(self._directory)
        for path in sorted(self._steps(), key=_step_of, reverse=True):
            manifest = verify(path)
            if manifest is not None and OPTIMIZER in manifest.files:
                return manifest
            self._remove(path)
        return None

    def load(self, manifest: CheckpointManifest) -> TrainingState:
        """What a checkpoint that is here holds."""
        path = self.path(manifest.step)
        return TrainingState(
            weights=load_tensors(path / WEIGHTS),
            optimizer=load_tensors(path / OPTIMIZER),
            ranks=load_tensors(path / RANKS),
            progress=manifest.progress,
        )

    def share(self, manifest: CheckpointManifest) -> None:
        """See to it that other nodes find a checkpoint at the output URI: its upload may have been cut off."""
        path = self.path(manifest.step)
        if not self._mirror.holds(path, MANIFEST):
            self._mirror.check()
            self._mirror.publish(path)

    def bring(self, manifest: CheckpointManifest) -> None:
        """Fetch a checkpoint from the output URI, unless this very one is here.

        Raises:
            StorageUnavailableError: what is there is another one.
        """
        path = self.path(manifest.step)
        if _is_whole(path, manifest):
            return
        self._mirror.fetch(path)
        if not _is_whole(path, manifest):
            raise StorageUnavailableError(
                f"the checkpoint of step {manifest.step} is not the one that node 0 goes on from.",
                where=str(path),
                remedy="Start again; if it stays so, look for another run that writes to this output.",
                reason="CheckpointDiffers",
            )

    def keep_only(self, keep: set[int]) -> None:
        """At the end: only the best remain, as weights."""
        self.wait()
        self._keep_last = 0
        self._prune(keep)

    def path(self, step: int) -> Path:
        return self._directory / f"step-{step}"

    def _steps(self) -> list[Path]:
        return [path for path in self._directory.glob("step-*") if path.name[5:].isdigit()]

    def _write(self, state: TrainingState) -> None:
        target = self.path(state.progress.step)
        parts: dict[str, Any] = {WEIGHTS: state.weights, OPTIMIZER: state.optimizer, RANKS: state.ranks}
        with staged_directory(target) as partial:
            files = {name: _save(partial / name, value) for name, value in parts.items()}
            _write_manifest(
                partial, CheckpointManifest(step=state.progress.step, files=files, progress=state.progress)
            )
            self._mirror.check()
        self._mirror.publish(target)
        self._published()

    def _prune(self, keep: set[int]) -> None:
        paths = sorted(self._steps(), key=_step_of)
        resumable = set(paths[-self._keep_last :] if self._keep_last else [])
        for path in paths:
            if path in resumable:
                continue
            if _step_of(path) not in keep:
                self._remove(path)
            elif any((path / name).exists() for name in _RESUME_ONLY):
                self._drop_resume_part(path)

    def _remove(self, path: Path) -> None:
        """The copy elsewhere first: what is still here is removed by the next try."""
        self._mirror.forget(path)
        discard_directory(path)

    def _drop_resume_part(self, path: Path) -> None:
        """Leave the weights alone; the manifest shrinks first, so that the rest is never missed.

        The copy elsewhere too: uploading it again would take long, and leave it without a manifest meanwhile.
        """
        manifest = CheckpointManifest.model_validate_json((path / MANIFEST).read_bytes())
        files = {name: file for name, file in manifest.files.items() if name not in _RESUME_ONLY}
        _write_manifest(path, manifest.model_copy(update={"files": files}))
        self._mirror.write(path / MANIFEST)
        for name in _RESUME_ONLY:
            self._mirror.forget(path / name)
            (path / name).unlink(missing_ok=True)


def verify(path: Path) -> CheckpointManifest | None:
    """The manifest of a complete checkpoint, or None if a file is missing or differs from what was written."""
    try:
        manifest = CheckpointManifest.model_validate_json((path / MANIFEST).read_bytes())
        whole = all(
            (path / name).stat().st_size == file.size and _sha256(path / name) == file.sha256
            for name, file in manifest.files.items()
        )
    except (OSError, ValueError):
        return None
    return manifest if whole else None


def _is_whole(path: Path, manifest: CheckpointManifest) -> bool:
    """Whether this very checkpoint is complete here."""
    found = verify(path)
    return found is not None and found.files == manifest.files


def load_tensors(path: Path) -> Any:
    """Read a file of tensors and plain values; code in it is never run."""
    return torch.load(path, map_location="cpu", weights_only=True)


def _save(path: Path, value: Any) -> CheckpointFile:
    with staged_file(path) as stream:
        torch.save(value, stream)
    return CheckpointFile(size=path.stat().st_size, sha256=_sha256(path))


def _write_manifest(directory: Path, manifest: CheckpointManifest) -> None:
    with staged_file(directory / MANIFEST) as stream:
        stream.write(manifest.model_dump_json().encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
