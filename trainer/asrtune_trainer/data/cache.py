"""Where the audio of a list lies: beside it, anywhere on disk, or on S3 (then in a local copy)."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from asrtune_api.errors import DataInvalidError
from asrtune_trainer.data.reasons import Problem, Reason
from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.storage import Entry, S3Location, Stores, parse_uri

_FEW = 200
"""Up to so many files of one prefix are asked for one by one; more are found by listing it."""
_WORKERS = 32


def resolve_source(source: str, list_uri: str) -> str:
    """The absolute path or s3 URI of a line's audio; relative ones start at the list's directory.

    Raises:
        SpecInvalidError: if it is neither.
    """
    if "://" in source:
        return str(parse_uri(source))
    bucket, folder = _folder(list_uri)
    path = posixpath.join(folder, source)  # an absolute source stays as it is
    if not bucket or source.startswith("/"):
        return path
    return str(parse_uri(f"s3://{bucket}/{posixpath.normpath(path)}"))


@lru_cache(maxsize=64)
def _folder(list_uri: str) -> tuple[str, str]:
    """The bucket (empty for a local list) and directory of a list."""
    location = parse_uri(list_uri)
    if isinstance(location, S3Location):
        return location.bucket, posixpath.dirname(location.key)
    return "", str(location.parent)


class AudioCache:
    """Local copies of S3 audio, named by URI and version: a new version is another file.

    Args:
        directory: where the copies lie; may be shared by stages and runs.
        stores: reach the URIs.
    """

    def __init__(self, directory: Path, stores: Stores) -> None:
        self._directory = directory / "audio"
        self._stores = stores
        self._versions: dict[bytes, str] = {}

    def find(self, uris: Iterable[str]) -> None:
        """Learn the versions of S3 audio: by listing each prefix that holds many, else one by one.

        Raises:
            StorageUnavailableError: if the server cannot be reached.
            SpecInvalidError: if there is no such bucket.
        """
        by_prefix: dict[str, list[str]] = {}
        for uri in uris:
            if is_remote(uri):
                by_prefix.setdefault(uri.rpartition("/")[0], []).append(uri)
        few = [uri for wanted in by_prefix.values() if len(wanted) <= _FEW for uri in wanted]
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="stat") as pool:
            self._learn(entry for entry in pool.map(lambda uri: self._stores.of(uri).stat(uri), few) if entry)
        for prefix in _outermost(prefix for prefix, wanted in by_prefix.items() if len(wanted) > _FEW):
            self._learn(self._stores.of(prefix).entries(prefix))

    def version(self, uri: str) -> str:
        """The version of S3 audio that `find` was asked for; empty if there is none."""
        return self._versions.get(_name(uri), "")

    def download(self, uris: Iterable[str], each: Callable[[], None] | None = None) -> None:
        """Make local copies of those that are remote, that `find` has found and that have none yet.

        Args:
            uris: of the audio.
            each: called after each file; may raise to end the download.

        Raises:
            StorageUnavailableError: if the server cannot be reached.
        """
        remote = (uri for uri in uris if is_remote(uri) and self.version(uri))
        missing = {uri: path for uri in remote if not (path := self._path(uri)).exists()}
        if missing:
            storage = self._stores.of(next(iter(missing)))
            for _ in storage.download_many(missing.items(), workers=_WORKERS):
                if each is not None:  # what vanished meanwhile has no file, which `local` sees
                    each()

    def local(self, uri: str) -> Path | Problem:
        """The path of audio: its own, or its downloaded copy's."""
        if not is_remote(uri):
            return Path(uri)
        path = self._path(uri) if self.version(uri) else None
        return path if path and path.exists() else Problem(Reason.FILE_MISSING, f"there is no {uri}")

    def localise(
        self, utterances: Sequence[Utterance], each: Callable[[], None] | None = None
    ) -> list[Utterance]:
        """The same utterances with local paths as sources.

        Args:
            utterances: whose audio is wanted.
            each: as in `download`.

        Raises:
            DataInvalidError: if audio is no longer there; StorageUnavailableError as `fetch`.
        """
        uris = [utterance.source for utterance in utterances]
        self.find(uris)
        self.download(uris, each)
        return [replace(one, source=str(_present(one.source, self.local(one.source)))) for one in utterances]

    def _learn(self, entries: Iterable[Entry]) -> None:
        self._versions.update((_name(entry.uri), entry.version) for entry in entries)

    def _path(self, uri: str) -> Path:
        name = hashlib.sha256(f"{uri}\0{self.version(uri)}".encode()).hexdigest()[:32]
        return self._directory / name[:2] / f"{name}{PurePosixPath(uri).suffix[:8]}"


def is_remote(uri: str) -> bool:
    """Whether audio must be fetched before it can be opened."""
    return uri.startswith("s3://")


def _present(uri: str, found: Path | Problem) -> Path:
    if isinstance(found, Problem):
        raise DataInvalidError(
            "audio that was there when the data was prepared is gone.",
            where=uri,
            remedy="Put it back, or run the Prepare stage again.",
        )
    return found


def _name(uri: str) -> bytes:
    return hashlib.blake2b(uri.encode(), digest_size=8).digest()


def _outermost(prefixes: Iterable[str]) -> list[str]:
    """Prefixes that lie under no other one of them: listing those lists all."""
    kept: list[str] = []
    for prefix in sorted(prefixes, key=lambda prefix: prefix + "/"):
        if not kept or not f"{prefix}/".startswith(f"{kept[-1]}/"):
            kept.append(prefix)
    return kept
