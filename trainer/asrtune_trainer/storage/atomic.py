"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from asrtune_trainer.storage.errors import local_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX = ".partial"


def is_partial(name: str) -> bool:
    """Whether a file or directory of this name is somebody's unfinished work."""
    return name.startswith(".") and name.endswith(_SUFFIX)


@contextmanager
def staged_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file beside `path` that replaces it when the block ends without an error.

    After a power cut the file is there whole or not at all; `sync_directory` makes sure that it is there.

    Raises:
        StorageUnavailableError: the file cannot be written (read-only, full, not permitted).
    """
    with local_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stage = path.parent / f".{secrets.token_hex(8)}{_SUFFIX}"
    try:
        with local_errors(path):
            with stage.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            stage.replace(path)
    finally:
        with suppress(OSError):
            stage.unlink()


@contextmanager
def staged_directory(path: Path) -> Iterator[Path]:
    """Gives a temporary directory beside `path` that replaces it when the block ends without an error.

    An older `path` is moved aside first: for that moment there is none. Leftovers of a killed earlier try are
    removed, which is why a directory has one writer at a time.

    Raises:
        StorageUnavailableError: the directory cannot be written (read-only, full, not permitted).
    """
    with local_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_partials(path)
        stage, old = (_beside(path) for _ in range(2))
        stage.mkdir()
    try:
        yield stage
        with local_errors(path):
            for folder, _, _ in os.walk(stage):
                sync_directory(Path(folder))
            if path.is_dir():
                path.rename(old)
            stage.rename(path)
            sync_directory(path.parent)
    finally:
        remove_partials(path)


def discard_directory(path: Path) -> None:
    """Deletes a directory so that no reader meets half of it: it loses its name first."""
    aside = _beside(path)
    path.rename(aside)
    shutil.rmtree(aside)


def remove_partials(path: Path) -> None:
    """Removes what unfinished writers of the directory `path` left beside it."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}{re.escape(_SUFFIX)}")
    for found in path.parent.iterdir():
        if ours.fullmatch(found.name):
            shutil.rmtree(found, ignore_errors=True)


def remove_all_partials(directory: Path) -> None:
    """Removes what unfinished work on the entries of `directory` left in it; nobody else may be at work there."""
    for found in directory.glob(f".*{_SUFFIX}"):
        if found.is_dir():
            shutil.rmtree(found, ignore_errors=True)
        else:
            found.unlink()


def sync_directory(path: Path) -> None:
    """Brings a rename to the disk, so that it outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}"
