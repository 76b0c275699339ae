"""Copies of an unfinished stage's files at a remote output URI, so that another machine can go on."""

from __future__ import annotations

from pathlib import Path

from asrtune_trainer.stages.fence import Guard
from asrtune_trainer.storage import ObjectMissingError, Stores, join_uri, local_path


class Mirror:
    """Keeps directories of a stage at its output URI; does nothing when that is where they lie anyway.

    Args:
        stores: reach the URI.
        directory: the stage's local directory.
        uri: the stage's directory at the output URI.
        guard: raises where this process must not write there any more.
    """

    def __init__(self, stores: Stores, directory: Path, uri: str, guard: Guard | None = None) -> None:
        self._directory = directory
        self._uri = uri
        self._guard = guard
        self._storage = None if local_path(uri) is not None else stores.of(uri)

    def check(self) -> None:
        """Raise where this process must not publish any more; also where the files lie in place."""
        if self._guard is not None:
            self._guard()

    def publish(self, path: Path) -> None:
        """Upload a directory that holds a `manifest.json`, its marker; replaces what was there."""
        if self._storage is not None:
            self._storage.publish(path, self._remote(path))

    def holds(self, path: Path, name: str) -> bool:
        """Whether this very file of a directory is at the output URI."""
        if self._storage is None:
            return True
        try:
            return self._storage.read_bytes(join_uri(self._remote(path), name)) == (path / name).read_bytes()
        except ObjectMissingError:
            return False

    def fetch(self, path: Path) -> None:
        """Download a directory that another machine published."""
        if self._storage is not None:
            self._storage.fetch(self._remote(path), path)

    def write(self, path: Path) -> None:
        """Upload one file."""
        if self._storage is not None:
            self._storage.upload(path, self._remote(path))

    def snapshot(self, path: Path) -> None:
        """Upload what a file holds now that goes on being written."""
        if self._storage is not None:
            self._storage.write_bytes(self._remote(path), path.read_bytes())

    def forget(self, path: Path) -> None:
        """Delete the copy of a directory or file."""
        if self._storage is not None:
            self._storage.delete(self._remote(path))

    def _remote(self, path: Path) -> str:
        return join_uri(self._uri, *path.relative_to(self._directory).parts)
