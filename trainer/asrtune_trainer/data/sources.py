"""Opens the data lists that a manifest names, and digests them with their audio."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asrtune_api.errors import DataInvalidError, SpecInvalidError
from asrtune_api.finetune import DataSource
from asrtune_api.runspec import RunSpec
from asrtune_trainer.data.cache import AudioCache, is_remote
from asrtune_trainer.data.lines import Ready, SourceList
from asrtune_trainer.data.pool import chunked
from asrtune_trainer.storage import ObjectMissingError, Stores, local_path

_THREADS = 8  # a network disk answers slowly, but many at a time
_BLOCK = 512


def open_sources(run: RunSpec, stores: Stores, scratch: Path, *, remove_event_tags: bool) -> list[SourceList]:
    """The lists, on this machine. Test sets come first and training data last, as `Overlap` needs it.

    Raises:
        SpecInvalidError: if there is no such list.
        DataInvalidError: if it is no text.
        StorageUnavailableError: if it cannot be read.
    """
    splits: tuple[tuple[str, Sequence[DataSource]], ...] = (
        ("test", run.data.test),
        ("validation", run.data.validation),
        ("train", run.data.train),
    )
    return [
        SourceList(
            split=split,
            name=source.name,
            uri=source.uri,
            path=_open(source.uri, run.manifest_field(f"data.{split}[{source.name}].uri"), stores, scratch),
            remove_event_tags=remove_event_tags,
        )
        for split, sources in splits
        for source in sources
    ]


def source_digests(sources: Sequence[SourceList], cache: AudioCache) -> Mapping[str, str]:
    """A digest of each source: the list's content, and size and time (S3: ETag) of every audio file that it names."""
    cache.find(uri for source in sources for uri in _audio(source))
    return {source.label: _digest(source, cache) for source in sources}


def _digest(source: SourceList, cache: AudioCache) -> str:
    with source.path.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256")
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="stat") as pool:
        for group in chunked(chunked(_audio(source), _BLOCK), _THREADS):
            for version in pool.map(lambda block: [_version(uri, cache) for uri in block], group):
                whole.update("\n".join(version).encode())
    return whole.hexdigest()


def _audio(source: SourceList) -> Iterator[str]:
    return (line.uri for line in source.lines() if isinstance(line, Ready))


def _version(uri: str, cache: AudioCache) -> str:
    if is_remote(uri):
        return cache.version(uri)
    try:
        status = Path(uri).stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"


def _open(uri: str, where: str, stores: Stores, scratch: Path) -> Path:
    path = local_path(uri)
    if path is None:
        path = scratch / "lists" / f"{hashlib.sha256(uri.encode()).hexdigest()[:32]}.jsonl"
    try:
        if is_remote(uri):
            stores.of(uri).download(uri, path)
        if path.is_dir():
            raise SpecInvalidError(
                f"{uri} is a directory, not a list.",
                where=where,
                remedy="Name the JSONL file.",
                reason="ListMissing",
            )
        with path.open("rb") as file:
            start = file.read(4)
    except (ObjectMissingError, FileNotFoundError, NotADirectoryError):
        raise SpecInvalidError(
            f"there is no {uri}.", where=where, remedy="Correct the path or the URI.", reason="ListMissing"
        ) from None
    except OSError as error:
        raise SpecInvalidError(
            f"{uri} cannot be read: {error.strerror}.",
            where=where,
            remedy="Give this user the right to read it.",
            reason="ListUnreadable",
        ) from error
    _require_text(start, uri)
    return path


def _require_text(start: bytes, uri: str) -> None:
    """Refuse what would give a reject for every line.

    Raises:
        DataInvalidError: if the file is empty, UTF-16 or compressed.
    """
    problems: Iterable[tuple[bool, str, str]] = (
        (not start, "the list is empty.", 'Write one {"source": AUDIO, "target": TEXT} a line.'),
        (
            start[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in start,
            "the list is UTF-16 or binary, not UTF-8.",
            "Convert it: iconv -f UTF-16 -t UTF-8 IN > OUT.",
        ),
        (start[:2] == b"\x1f\x8b", "the list is compressed.", "Unpack it: gunzip FILE."),
    )
    for broken, message, remedy in problems:
        if broken:
            raise DataInvalidError(message, where=uri, remedy=remedy, reason="ListInvalid")
