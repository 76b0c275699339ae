"""What every kind of storage can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from asrtune_trainer.storage.atomic import staged_directory
from asrtune_trainer.storage.errors import ObjectMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

MARKER = ("manifest.json",)
"""The file whose presence says that all others of its directory are there."""

_QUEUED_PER_WORKER = 4  # enough that no worker waits; bounds what is held of an endless list


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file.

    Attributes:
        uri: its full URI.
        name: its path relative to the listed directory, or its last part where one file was asked for.
        size: bytes.
        version: changes when the content is written again (S3: the ETag; local: time and size).
    """

    uri: str
    name: str
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Download:
    """How one of many downloads ended: `error` is None when the file lies at `path`."""

    uri: str
    path: Path
    error: ObjectMissingError | None


class Storage(ABC):
    """Files by URI. Every failure is an `asrtune_api.errors.AsrtuneError`; all methods may be called by threads.

    Errors that every method raises:
        SpecInvalidError: the URI is malformed or the bucket does not exist.
        StorageUnavailableError: access denied, not reachable, disk full, or content damaged; see `reason`.
        ObjectMissingError: there is no such file (reading methods only).

    A directory has one writer at a time; readers may come at any moment.
    """

    @abstractmethod
    def read_bytes(self, uri: str) -> bytes:
        """The content of a file that fits in memory."""

    @abstractmethod
    def write_bytes(self, uri: str, data: bytes) -> None:
        """Writes a file whole or not at all."""

    @abstractmethod
    def download(self, uri: str, path: Path) -> None:
        """Copies a file to `path`, whole and verified or not at all; makes the parent directories."""

    @abstractmethod
    def upload(self, path: Path, uri: str) -> None:
        """Copies the file at `path` to `uri`, whole or not at all."""

    @abstractmethod
    def stat(self, uri: str) -> Entry | None:
        """The file at `uri`, or None where there is none."""

    @abstractmethod
    def entries(self, uri: str) -> Iterator[Entry]:
        """All files under the directory `uri`, at any depth, by name; none where there is no such directory."""

    @abstractmethod
    def delete(self, uri: str) -> None:
        """Deletes the file `uri` and all files under the directory `uri`, their markers first; none is no error."""

    @abstractmethod
    def publish(self, directory: Path, uri: str, *, last: tuple[str, ...] = MARKER) -> None:
        """Makes `uri` hold exactly the files of `directory`; a reader who finds the markers finds all of them.

        What lay under `uri` before is replaced, files that `directory` lacks included.

        Args:
            directory: a local directory; links are followed, empty directories left out.
            uri: the directory to fill.
            last: names of marker files relative to `directory`, written in this order after all others.
        """

    def download_many(self, pairs: Iterable[tuple[str, Path]], *, workers: int = 16) -> Iterator[Download]:
        """Downloads many small files at a time; yields in the order of `pairs`, which may be endless.

        A missing file is reported and the rest goes on; what would befall all of them (no access, no such bucket,
        not reachable) is raised.

        Args:
            pairs: URI and local path of each.
            workers: threads.
        """
        todo = iter(pairs)
        running: deque[Future[Download]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="download")
        try:
            while True:
                for uri, path in islice(todo, workers * _QUEUED_PER_WORKER - len(running)):
                    running.append(pool.submit(self._try_download, uri, path))
                if not running:
                    return
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def fetch(self, uri: str, directory: Path, *, workers: int = 16) -> None:
        """Downloads the directory `uri`; `directory` appears whole or not at all, replacing an older one.

        Raises:
            ObjectMissingError: there is nothing under `uri`, or a file vanished meanwhile.
        """
        with staged_directory(directory) as stage:
            pairs = [(entry.uri, stage / entry.name) for entry in self.entries(uri)]
            if not pairs:
                raise ObjectMissingError(
                    "there is nothing here.",
                    where=uri,
                    remedy="Check the URI and whether it was written at all.",
                )
            for done in self.download_many(pairs, workers=workers):
                if done.error is not None:
                    raise done.error

    def _try_download(self, uri: str, path: Path) -> Download:
        try:
            self.download(uri, path)
        except ObjectMissingError as error:
            return Download(uri, path, error)
        return Download(uri, path, None)
