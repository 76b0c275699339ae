"""The termination message: how a pod's container tells the operator its end, in 4,096 bytes at most."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import ConfigDict, Field, ValidationError

from asrtune_api.base import ApiModel
from asrtune_api.errors import AsrtuneError, ExitCode

LIMIT_BYTES = 4096  # kubelet cuts a longer one, which would leave no JSON


class EndClass(StrEnum):
    """The class of an end; one for each exit code."""

    DONE = "Done"
    DATA_INVALID = "DataInvalid"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    INTERNAL = "Internal"
    OUT_OF_MEMORY = "OutOfMemory"
    INTERRUPTED = "Interrupted"
    DIVERGED = "Diverged"
    SPEC_INVALID = "SpecInvalid"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of processes that end so."""
        return ExitCode[self.name]


Result = str | int | float


class TerminationMessage(ApiModel):
    """How a process ended."""

    model_config = ConfigDict(extra="ignore")  # a newer trainer may say more than an older operator knows

    end_class: EndClass = Field(alias="class")
    """What kind of end it was."""
    reason: str = ""
    """CamelCase word from the closed list of what raised it."""
    message: str = ""
    """What was wrong and where, for people."""
    remedy: str = ""
    """What to do about it."""
    stage: str = ""
    """The stage that was running."""
    step: int | None = None
    """The optimiser step it had reached."""
    results: dict[str, Result] = Field(default_factory=dict)
    """Summary of results, the most important first: metrics, counts, artifact URIs."""

    @classmethod
    def from_error(
        cls,
        error: AsrtuneError,
        *,
        stage: str = "",
        step: int | None = None,
        results: Mapping[str, Result] | None = None,
    ) -> Self:
        """The end that an error makes."""
        return cls(
            end_class=EndClass[error.exit_code.name],
            reason=error.reason,
            message=f"{error.where}: {error.message}" if error.where else error.message,
            remedy=error.remedy,
            stage=stage,
            step=step,
            results=_finite(results or {}),
        )

    @classmethod
    def done(cls, *, stage: str = "", results: Mapping[str, Result] | None = None) -> Self:
        """The good end."""
        return cls(end_class=EndClass.DONE, reason="Complete", stage=stage, results=_finite(results or {}))

    @classmethod
    def decode(cls, data: str | bytes) -> Self | None:
        """Read a message; None where it is none (a killed container leaves nothing, or the end of its log)."""
        try:
            return cls.model_validate_json(data)
        except (ValidationError, UnicodeDecodeError):
            return None

    def encode(self) -> bytes:
        """One JSON object of at most 4,096 bytes: long texts are cut, then results left out, the last ones first."""
        for longest in (LIMIT_BYTES, 1024, 512):
            data = self._json(longest, len(self.results))
            if len(data) <= LIMIT_BYTES:
                return data
        for longest in (512, 128, 32):
            for count in range(len(self.results), -1, -1):
                data = self._json(longest, count)
                if len(data) <= LIMIT_BYTES:
                    return data
        raise AssertionError(
            "a message without results, with texts of 32 characters, has at most 1,100 bytes"
        )

    def _json(self, longest: int, results: int) -> bytes:
        document = self.model_dump(mode="json", by_alias=True)
        document["results"] = dict(list(document["results"].items())[:results])
        kept = {
            key: _cut(value, longest) if isinstance(value, str) else value
            for key, value in document.items()
            if value not in ("", None, {})
        }
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _finite(results: Mapping[str, Result]) -> dict[str, Result]:
    """JSON has neither NaN nor infinity."""
    return {
        key: value for key, value in results.items() if not isinstance(value, float) or math.isfinite(value)
    }
