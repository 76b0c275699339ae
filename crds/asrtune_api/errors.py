"""What can go wrong, in the closed classes that exit codes, termination messages and verdicts share."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How an asrtune process ends. Values follow BSD's sysexits.h where one fits."""

    DONE = 0
    DATA_INVALID = 65
    STORAGE_UNAVAILABLE = 69
    INTERNAL = 70
    OUT_OF_MEMORY = 71
    INTERRUPTED = 75
    DIVERGED = 76
    SPEC_INVALID = 78


class AsrtuneError(Exception):
    """A failure told to a person: what was wrong, where, and what to do about it.

    Args:
        message: what was wrong, one sentence.
        where: the file and line, the spec's field, or the object it is about.
        remedy: what to do about it, one sentence.
        reason: CamelCase word from a closed list of the raising module; defaults to the class's own.
    """

    exit_code: ExitCode = ExitCode.INTERNAL
    reason: str = "InternalError"

    def __init__(self, message: str, *, where: str = "", remedy: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy
        if reason:
            self.reason = reason

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head} {self.remedy}".strip()


class DataInvalidError(AsrtuneError):
    """The training or test data is wrong; another try with the same data fails the same way."""

    exit_code = ExitCode.DATA_INVALID
    reason = "DataInvalid"


class StorageUnavailableError(AsrtuneError):
    """Storage or a model hub cannot be reached or refuses us; a later try may succeed."""

    exit_code = ExitCode.STORAGE_UNAVAILABLE
    reason = "StorageUnavailable"


class OutOfMemoryError(AsrtuneError):
    """The device or the host ran out of memory."""

    exit_code = ExitCode.OUT_OF_MEMORY
    reason = "OutOfMemory"


class InterruptedRunError(AsrtuneError):
    """The run was asked to stop (SIGTERM, SIGINT); its state is saved and it resumes when started again."""

    exit_code = ExitCode.INTERRUPTED
    reason = "Interrupted"


class DivergedError(AsrtuneError):
    """Training diverged: more non-finite steps than the allowance."""

    exit_code = ExitCode.DIVERGED
    reason = "Diverged"


class SpecInvalidError(AsrtuneError):
    """The manifest (or what it names: a preset, a model directory) is wrong."""

    exit_code = ExitCode.SPEC_INVALID
    reason = "SpecInvalid"


class NotReadyError(SpecInvalidError):
    """The manifest is right, but what it names is not there yet; a cluster waits for it."""

    reason = "NotReady"


class InternalStageError(AsrtuneError):
    """Our own fault: a stage was wired to something that is not there."""
