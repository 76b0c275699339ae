"""Digests of files and directories, for fingerprints."""

from __future__ import annotations

import hashlib
from pathlib import Path

from asrtune_trainer.storage.tree import files_under


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def directory_digest(path: Path) -> str:
    """SHA-256 over the names and contents of a directory's files."""
    whole = hashlib.sha256()
    for name, file in files_under(path):
        whole.update(f"{name}\0{file_digest(file)}\n".encode())
    return whole.hexdigest()
