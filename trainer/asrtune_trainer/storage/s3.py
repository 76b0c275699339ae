"""Storage on an S3 server."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

from asrtune_api.errors import AsrtuneError, SpecInvalidError
from asrtune_trainer.storage.atomic import staged_file
from asrtune_trainer.storage.base import MARKER, Entry, Storage
from asrtune_trainer.storage.errors import local_errors
from asrtune_trainer.storage.s3_connection import S3Connection
from asrtune_trainer.storage.s3_objects import (
    delete_keys,
    file_sha256,
    get,
    head,
    list_page,
    put_bytes,
    put_file,
)
from asrtune_trainer.storage.tree import in_publishing_order
from asrtune_trainer.storage.uri import S3Location, join_uri, parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import IO

    from asrtune_trainer.storage.settings import S3Settings

_DELETE_BATCH = 1000  # what S3 takes in one request
_PUBLISH_WORKERS = 8


class S3Storage(Storage):
    """Storage on an S3 server; see `Storage`. It may cross a fork or be pickled: each process connects anew.

    Content is verified twice. botocore sends a checksum with every upload and compares that of every whole download;
    what we upload also carries its SHA-256 as metadata, which `download` and `read_bytes` compare.

    Args:
        settings: how the server is reached.
    """

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connected: tuple[int, S3Connection] | None = None

    def __reduce__(self) -> tuple[type[S3Storage], tuple[S3Settings]]:
        return S3Storage, (self._settings,)

    def read_bytes(self, uri: str) -> bytes:
        buffer = BytesIO()
        self._get(uri, buffer)
        return buffer.getvalue()

    def write_bytes(self, uri: str, data: bytes) -> None:
        location, connection = _object(uri), self._connection()
        connection.call(location, partial(put_bytes, connection, location, data))

    def download(self, uri: str, path: Path) -> None:
        with staged_file(path) as file:
            self._get(uri, file)

    def upload(self, path: Path, uri: str) -> None:
        location, connection = _object(uri), self._connection()
        with local_errors(path):
            digest = file_sha256(path)
            connection.call(location, partial(put_file, connection, location, path, digest))

    def stat(self, uri: str) -> Entry | None:
        location, connection = _object(uri), self._connection()
        return connection.call(location, partial(head, connection, location))

    def entries(self, uri: str) -> Iterator[Entry]:
        location, connection = _location(uri), self._connection()
        token = ""
        while True:
            found, token = connection.call(location, partial(list_page, connection, location, token))
            yield from found
            if not token:
                return

    def delete(self, uri: str) -> None:
        location = _object(uri)
        keys = [location.prefix + entry.name for entry in self.entries(uri)]
        keys.sort(key=lambda key: key.rpartition("/")[2] not in MARKER)
        alone = [location.key] if self.stat(uri) else []
        self._delete(location, alone + keys)

    def publish(self, directory: Path, uri: str, *, last: tuple[str, ...] = MARKER) -> None:
        location = _location(uri)
        names = in_publishing_order(directory, last)
        there = {entry.name for entry in self.entries(uri)}
        self._delete(location, [location.prefix + name for name in last if name in there])
        content = names[: len(names) - len(last)]
        with ThreadPoolExecutor(_PUBLISH_WORKERS, thread_name_prefix="publish") as pool:
            sent = [pool.submit(self.upload, directory / name, join_uri(uri, name)) for name in content]
            try:
                for upload in sent:
                    upload.result()
            finally:
                pool.shutdown(cancel_futures=True)
        self._delete(location, [location.prefix + name for name in sorted(there - set(names))])
        for name in last:
            self.upload(directory / name, join_uri(uri, name))

    def _get(self, uri: str, file: IO[bytes]) -> None:
        location, connection = _object(uri), self._connection()
        connection.call(location, partial(get, connection, location, file))

    def _delete(self, location: S3Location, keys: Iterable[str]) -> None:
        connection, todo = self._connection(), list(keys)
        for start in range(0, len(todo), _DELETE_BATCH):
            batch = todo[start : start + _DELETE_BATCH]
            connection.call(location, partial(delete_keys, connection, location, batch))

    def _connection(self) -> S3Connection:
        if self._connected is None or self._connected[0] != os.getpid():
            with self._lock:
                if self._connected is None or self._connected[0] != os.getpid():
                    self._connected = os.getpid(), S3Connection(self._settings)
        return self._connected[1]


def _location(uri: str) -> S3Location:
    location = parse_uri(uri)
    if not isinstance(location, S3Location):
        raise AsrtuneError("this is no s3:// URI.", where=uri)
    return location


def _object(uri: str) -> S3Location:
    location = _location(uri)
    if not location.key:
        raise SpecInvalidError(
            "this names a whole bucket.",
            where=uri,
            remedy="Add a key: s3://bucket/key.",
            reason="UriInvalid",
        )
    return location
