"""Where the files of a run lie on this machine and at its output URI."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from asrtune_api.errors import AsrtuneError, InterruptedRunError, SpecInvalidError
from asrtune_trainer.stages.fence import Attempt, Fence
from asrtune_trainer.stages.manifest import ATTEMPT, MANIFEST, StageManifest, parse_manifest
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import ObjectMissingError, Stores, join_uri, local_path
from asrtune_trainer.storage.atomic import staged_file
from asrtune_trainer.storage.errors import local_errors

_LOCK_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Workspace:
    """A run's files. With a local output URI they are worked on in place; with a remote one, in a copy."""

    output: str
    root: Path
    stores: Stores
    fence: Fence

    @classmethod
    def open(
        cls, output: str, workdir: Path, stores: Stores, *, me: Attempt | None = None, node: int = 0
    ) -> Workspace:
        """The workspace of an output URI; remote ones get a directory of their own below `workdir`.

        Args:
            output: the run's output URI.
            workdir: a directory of this machine.
            stores: reach the output.
            me: the attempt that this process is, where attempts are counted.
            node: a node of a gang other than 0 reads, and has files of its own.

        Raises:
            SpecInvalidError: there can be no such directory.
            StorageUnavailableError: the disk refuses it.
        """
        local, field = local_path(output), "spec.output.uri"
        if local is None:
            field = "--workdir"
            name = hashlib.sha256(output.encode()).hexdigest()[:16]
            local = workdir / "runs" / (f"{name}-node-{node}" if node else name)
        _make(local, field)
        return cls(output, local, stores, Fence(stores, output, me))

    @property
    def remote(self) -> bool:
        return local_path(self.output) is None

    def directory(self, stage: str) -> Path:
        return self.root / "stages" / stage

    def uri(self, stage: str) -> str:
        return join_uri(self.output, "stages", stage)

    def mirror(self, stage: str) -> Mirror:
        return Mirror(self.stores, self.directory(stage), self.uri(stage), self.fence.check)

    def manifest(self, stage: str) -> StageManifest | None:
        """The manifest of a finished stage; the output URI's is the truth."""
        try:
            return parse_manifest(self.stores.of(self.output).read_bytes(join_uri(self.uri(stage), MANIFEST)))
        except ObjectMissingError:
            return None

    def fetch(self, manifest: StageManifest) -> None:
        """Bring a finished stage's files here if they are not.

        Those of another attempt may have the same names and sizes: weights always do.
        """
        directory = self.directory(manifest.stage)
        path = directory / MANIFEST
        here = parse_manifest(path.read_bytes()) if path.is_file() else None
        same = here is not None and here.files == manifest.files and manifest.lies_in(directory)
        if self.remote and not same:
            self.stores.of(self.output).fetch(self.uri(manifest.stage), directory)

    def begin(self, stage: str, fingerprint: str) -> Path:
        """A directory for an attempt; what an earlier one with the same fingerprint left is kept, all else is gone.

        At the output URI too: another machine may have worked there with another fingerprint meanwhile.
        """
        self.fence.check()
        directory = self.directory(stage)
        here = self._attempt(directory / ATTEMPT) == fingerprint
        there = self.remote and self._attempt_there(stage) == fingerprint
        if not here:
            shutil.rmtree(directory, ignore_errors=True)
        if there and not here:
            self.stores.of(self.output).fetch(self.uri(stage), directory)
        elif self.remote and not there:
            self.stores.of(self.output).delete(self.uri(stage))
        (directory / MANIFEST).unlink(missing_ok=True)
        with staged_file(directory / ATTEMPT) as stream:
            stream.write(fingerprint.encode())
        self.mirror(stage).write(directory / ATTEMPT)
        return directory

    def commit(self, manifest: StageManifest) -> None:
        """Make a stage finished: its files first, its manifest last."""
        self.fence.check()
        directory = self.directory(manifest.stage)
        with staged_file(directory / MANIFEST) as stream:
            stream.write(manifest.model_dump_json(indent=1).encode())
        self.mirror(manifest.stage).publish(directory)

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the run itself (run.json, ledger.json)."""
        self.stores.of(self.output).write_bytes(join_uri(self.output, name), data)

    def keep(self, *names: str) -> None:
        """Bring files and directories of the run itself (logs) to a remote output URI."""
        if not self.remote:
            return
        storage = self.stores.of(self.output)
        for name in names:
            path = self.root / name
            found = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
            for one in found:
                storage.upload(one, join_uri(self.output, *one.relative_to(self.root).parts))

    @contextmanager
    def locked(self, stop: StopSignal, *, patience: float = 0.0) -> Iterator[None]:
        """Keep a second run on this machine out.

        Args:
            stop: ends the waiting.
            patience: seconds to wait for another process; a network disk keeps a dead machine's lock for a while.

        Raises:
            SpecInvalidError: if another process works on this output.
            InterruptedRunError: if one still does when patience is over: an earlier attempt that ends late.
            AsrtuneError: as `Fence.look` says, while it waits.
        """
        deadline = time.monotonic() + patience
        with (self.root / ".lock").open("w") as lock:
            while not _locks(lock):
                stop.check()
                if patience:
                    self.fence.look()  # only an earlier attempt of this run is worth waiting for
                if time.monotonic() >= deadline:
                    raise self._busy(InterruptedRunError if patience else SpecInvalidError)
                time.sleep(_LOCK_POLL_SECONDS)
            yield

    def _busy(self, kind: type[AsrtuneError]) -> AsrtuneError:
        return kind(
            "another run is working on this output.",
            where=f"spec.output.uri {self.output}",
            remedy="Wait for it, stop it, or choose another output.",
            reason="OutputInUse" if kind is SpecInvalidError else "OutputBusy",
        )

    def _attempt_there(self, stage: str) -> str | None:
        """Fingerprint of the last attempt at the output URI."""
        try:
            return self.stores.of(self.output).read_bytes(join_uri(self.uri(stage), ATTEMPT)).decode()
        except ObjectMissingError:
            return None

    @staticmethod
    def _attempt(path: Path) -> str | None:
        return path.read_text() if path.is_file() else None


def _make(directory: Path, field: str) -> None:
    try:
        with local_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
    except (SpecInvalidError, ObjectMissingError) as error:
        path = next((one for one in (directory, *directory.parents) if os.path.lexists(one)), directory)
        if path.is_symlink() and not path.exists():
            problem = f"{path} is a link to {path.readlink()}, which is not there."
        elif path.is_file():
            problem = f"{path} is a file, not a directory."
        else:
            problem = f"{directory} cannot be made: {error.message}"
        raise SpecInvalidError(
            problem, where=field, remedy="Name another directory.", reason="PathInvalid"
        ) from error


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
