"""What goes wrong with storage, told to people."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asrtune_api.errors import AsrtuneError, DataInvalidError, SpecInvalidError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ObjectMissingError(DataInvalidError):
    """A file that something names does not exist."""

    reason = "ObjectMissing"


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system says about `path` into our errors.

    Raises:
        ObjectMissingError: no such file.
        SpecInvalidError: a file stands where a directory must be, or the other way round.
        StorageUnavailableError: reason AccessDenied, DiskFull or DiskFailed.
    """
    try:
        yield
    except OSError as error:
        raise _translate(error, path) from error


def _translate(error: OSError, path: Path) -> AsrtuneError:
    where = str(error.filename or path)
    match error.errno:
        case errno.ENOENT:
            return ObjectMissingError(
                "there is no such file.", where=where, remedy="Check the path, or leave the line out."
            )
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            return SpecInvalidError(
                f"{(error.strerror or str(error)).lower()}.",
                where=where,
                remedy="Give a path where files and directories do not collide.",
                reason="PathInvalid",
            )
        case errno.ENAMETOOLONG:
            return SpecInvalidError(
                "the name is too long.", where=where, remedy="Shorten it.", reason="PathInvalid"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StorageUnavailableError(
                f"{(error.strerror or 'permission denied').lower()}.",
                where=where,
                remedy="Give this user access, or choose another directory.",
                reason="AccessDenied",
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StorageUnavailableError(
                "the disk is full.",
                where=where,
                remedy="Free space on it, or choose another working directory.",
                reason="DiskFull",
            )
        case _:
            return StorageUnavailableError(
                f"the disk failed: {error.strerror or error}.",
                where=where,
                remedy="Look at the machine's system log.",
                reason="DiskFailed",
            )
