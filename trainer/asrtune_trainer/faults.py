"""Turns whatever was raised into an error for people."""

from __future__ import annotations

import errno
import re
from typing import Final

from pydantic import BaseModel

from asrtune_api.errors import (
    AsrtuneError,
    DataInvalidError,
    DivergedError,
    ExitCode,
    InterruptedRunError,
    OutOfMemoryError,
    SpecInvalidError,
    StorageUnavailableError,
)

_NO_SHARED_MEMORY: Final = re.compile(r"unable to (allocate shared memory|(resize|write to) file </torch_)")
"""PyTorch's words for it."""
PEER_LOST = "PeerLost"
"""Reason of an end that another process's end has caused, which this process knows nothing of."""

_BY_CODE: dict[int, type[AsrtuneError]] = {
    kind.exit_code: kind
    for kind in (
        DataInvalidError,
        DivergedError,
        InterruptedRunError,
        OutOfMemoryError,
        SpecInvalidError,
        StorageUnavailableError,
    )
}


class Failure(BaseModel):
    """An error that crosses a process boundary."""

    exit_code: int = ExitCode.INTERNAL
    reason: str
    message: str
    where: str = ""
    remedy: str = ""

    @classmethod
    def of(cls, error: AsrtuneError) -> Failure:
        return cls(
            exit_code=error.exit_code,
            reason=error.reason,
            message=error.message,
            where=error.where,
            remedy=error.remedy,
        )

    def error(self) -> AsrtuneError:
        """The error again, of the class that its exit code names."""
        kind = _BY_CODE.get(self.exit_code, AsrtuneError)
        return kind(self.message, where=self.where, remedy=self.remedy, reason=self.reason)


def as_asrtune_error(error: BaseException) -> AsrtuneError:
    """An expected failure as it is; memory, disk and unknown ones put into words."""
    if isinstance(error, AsrtuneError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError(
            "stopped at once; the running step is lost.",
            remedy="Run the same command again: it goes on where it can.",
        )
    known = _out_of_memory(error) or _disk_full(error) or _broken_gang(error)
    return known or AsrtuneError(
        f"{type(error).__name__}: {_first_line(error)}",
        remedy="This is a fault of asrtune: please report it with the traceback.",
    )


def _out_of_memory(error: BaseException) -> AsrtuneError | None:
    if _NO_SHARED_MEMORY.search(str(error)):
        return OutOfMemoryError(
            "there is no room in /dev/shm for a batch from a data-loading process.",
            remedy="Enlarge /dev/shm (spec.resources.sharedMemory on a cluster), or lower train.workers.",
            reason="SharedMemoryFull",
        )
    # torch's own classes are told by name: importing torch to print an error would take seconds.
    if (
        isinstance(error, MemoryError)
        or "OutOfMemoryError" in _names(error)
        or "allocate memory" in str(error)
    ):
        return OutOfMemoryError(
            f"out of memory: {_first_line(error)}",
            remedy="Lower train.batch.size, or train with BF16, or take a larger machine.",
        )
    if "DataLoader worker" in str(error) and "killed" in str(error):
        return OutOfMemoryError(
            f"a data-loading process was killed: {_first_line(error)}",
            remedy="Lower train.workers, give more memory, or enlarge /dev/shm.",
        )
    return None


def _disk_full(error: BaseException) -> AsrtuneError | None:
    full = _disk_full_cause(error)
    if full is None:
        return None
    return StorageUnavailableError(
        "the disk is full.",
        where=str(full.filename or ""),
        remedy="Free space, or put the output and --workdir on a larger disk, and run the same command again.",
        reason="DiskFull",
    )


def _broken_gang(error: BaseException) -> AsrtuneError | None:
    """PyTorch raises its own for NCCL and its store, and for gloo a mere RuntimeError."""
    if "DistError" not in _names(error) and not (type(error) is RuntimeError and "gloo" in str(error)):
        return None
    return InterruptedRunError(
        f"the connection to another process of the gang broke: {_first_line(error)}",
        remedy="Look for the process that ended first.",
        reason=PEER_LOST,
    )


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _disk_full_cause(error: BaseException) -> OSError | None:
    """The operating system's word for a full disk, also where another error hides it (torch.save raises its own)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in {errno.ENOSPC, errno.EDQUOT}:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
