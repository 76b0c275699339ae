"""Copies of an unfinished stage's files at a remote output URI, so that another machine can go on."""

from __future__ import annotations

from pathlib import Path

from asrtune_trainer.storage import Stores, join_uri, local_path


class Mirror:
    """Keeps directories of a stage at its output URI; does nothing when that is where they lie anyway.

    Args:
        stores: reach the URI.
        directory: the stage's local directory.
        uri: the stage's directory at the output URI.
    """

    def __init__(self, stores: Stores, directory: Path, uri: str) -> None:
        self._directory = directory
        self._uri = uri
        self._storage = None if local_path(uri) is not None else stores.of(uri)

    def publish(self, path: Path) -> None:
        """Upload a directory that holds a `manifest.json`, its marker; replaces what was there."""
        if self._storage is not None:
            self._storage.publish(path, self._remote(path))

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
