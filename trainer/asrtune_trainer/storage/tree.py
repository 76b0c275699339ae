"""The files of a local directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from asrtune_api.errors import AsrtuneError
from asrtune_trainer.storage.atomic import is_partial
from asrtune_trainer.storage.errors import local_errors

if TYPE_CHECKING:
    from collections.abc import Iterator


def files_under(directory: Path) -> Iterator[tuple[str, Path]]:
    """All files at any depth, sorted by name, unfinished ones left out; links are followed.

    Yields:
        the path relative to `directory`, divided by slashes, and the path itself.
    """
    found: list[tuple[str, Path]] = []
    for parent, folders, files in os.walk(directory, followlinks=True):
        folders[:] = [name for name in folders if not is_partial(name)]
        paths = (Path(parent, name) for name in files if not is_partial(name))
        found.extend((path.relative_to(directory).as_posix(), path) for path in paths)
    yield from sorted(found)


def in_publishing_order(directory: Path, last: tuple[str, ...]) -> list[str]:
    """The names of all files under `directory`, the markers `last` at the end.

    Raises:
        ObjectMissingError: there is no such directory.
        AsrtuneError: a marker is missing: whoever filled the directory did not finish it.
    """
    with local_errors(directory):
        directory.stat()
        names = [name for name, _ in files_under(directory)]
    missing = [name for name in last if name not in names]
    if missing:
        raise AsrtuneError(f"the directory to publish lacks {', '.join(missing)}.", where=str(directory))
    return [name for name in names if name not in last] + list(last)
