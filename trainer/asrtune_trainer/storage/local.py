"""Storage on a local or mounted disk."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from asrtune_api.errors import AsrtuneError, SpecInvalidError
from asrtune_trainer.storage.atomic import (
    discard_directory,
    staged_directory,
    staged_file,
    sync_directory,
)
from asrtune_trainer.storage.base import MARKER, Entry, Storage
from asrtune_trainer.storage.errors import local_errors
from asrtune_trainer.storage.tree import files_under, in_publishing_order
from asrtune_trainer.storage.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterator


_PUBLISH_WORKERS = 8  # disks bring many files to rest at a time faster than one by one


class LocalStorage(Storage):
    """Storage on a local or mounted disk; see `Storage`."""

    def read_bytes(self, uri: str) -> bytes:
        path = _path(uri)
        with local_errors(path):
            return path.read_bytes()

    def write_bytes(self, uri: str, data: bytes) -> None:
        path = _path(uri)
        with staged_file(path) as file:
            file.write(data)
        _make_lasting(path)

    def download(self, uri: str, path: Path) -> None:
        _copy(_path(uri), path)

    def upload(self, path: Path, uri: str) -> None:
        target = _path(uri)
        _copy(path, target)
        _make_lasting(target)

    def stat(self, uri: str) -> Entry | None:
        path = _path(uri)
        with local_errors(path):
            return _entry(path, path.name) if path.is_file() else None

    def entries(self, uri: str) -> Iterator[Entry]:
        directory = _path(uri)
        with local_errors(directory):
            for name, path in files_under(directory):
                yield _entry(path, name)

    def delete(self, uri: str) -> None:
        path = _path(uri)
        with local_errors(path):
            if path.resolve() == path.resolve().parent:
                raise SpecInvalidError(
                    "this would delete a whole disk.", where=uri, remedy="Name a directory on it."
                )
            if path.is_dir() and not path.is_symlink():
                discard_directory(path)
            else:
                path.unlink(missing_ok=True)

    def publish(self, directory: Path, uri: str, *, last: tuple[str, ...] = MARKER) -> None:
        target = _path(uri)
        if target.resolve().is_relative_to(directory.resolve()) or directory.resolve().is_relative_to(
            target.resolve()
        ):
            raise AsrtuneError("a directory cannot be published into itself.", where=f"{directory} -> {uri}")
        names = in_publishing_order(directory, last)
        with staged_directory(target) as stage, ThreadPoolExecutor(_PUBLISH_WORKERS) as pool:
            for _ in pool.map(lambda name: _copy(directory / name, stage / name), names):
                pass


def _copy(source: Path, target: Path) -> None:
    with local_errors(source):
        reader = source.open("rb")
    with reader, staged_file(target) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


def _make_lasting(path: Path) -> None:
    with local_errors(path):
        sync_directory(path.parent)


def _entry(path: Path, name: str) -> Entry:
    status = path.stat()
    return Entry(str(path), name, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}")


def _path(uri: str) -> Path:
    location = parse_uri(uri)
    if not isinstance(location, Path):
        raise AsrtuneError("this is no local path.", where=uri)
    return location
