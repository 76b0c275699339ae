"""The termination message: how a pod's container tells the operator its end, in 4,096 bytes at most.

Its `results` are flat. What stands first is kept longest, so they are written in this order:

    score/SET/MODEL         error rates (`asrtune_api.scores`)
    model, report, ledger   URIs of what was published; the report before that: Evaluate's own
    STAGE/state             Succeeded (this process ran it) or Skipped (it was finished already)
    STAGE/seconds           how long it ran, this time or then
    STAGE/METRIC            numbers of its manifest: prepare/utterances, prepare/rejected, train/cer...
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

from pydantic import ConfigDict, Field, ValidationError

from asrtune_api.base import ApiModel
from asrtune_api.errors import AsrtuneError, ExitCode
from asrtune_api.status import StageState

LIMIT_BYTES = 4096  # kubelet cuts a longer one, which would leave no JSON

MODEL: Final = "model"
"""Key of the published model's URI."""
REPORT: Final = "report"
"""Key of the report's URI."""
LEDGER: Final = "ledger"
"""Key of the ledger's URI."""
_STATE: Final = "state"
_SECONDS: Final = "seconds"


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


class SavedCheckpoint(ApiModel):
    """The last checkpoint that is complete at the output URI: what a later attempt goes on from."""

    model_config = ConfigDict(extra="ignore")

    step: int
    """Its optimiser step."""
    time: float | None = None
    """Unix seconds of its completion; None: it was there before this process began."""


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
    checkpoint: SavedCheckpoint | None = None
    """The last checkpoint; where its step is the one reached, no work is lost."""
    results: dict[str, Result] = Field(default_factory=dict)
    """Summary of results, the most important first: metrics, counts, artifact URIs."""

    @classmethod
    def from_error(
        cls,
        error: AsrtuneError,
        *,
        stage: str = "",
        step: int | None = None,
        checkpoint: SavedCheckpoint | None = None,
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
            checkpoint=checkpoint,
            results=_finite(results or {}),
        )

    @classmethod
    def done(
        cls,
        *,
        stage: str = "",
        checkpoint: SavedCheckpoint | None = None,
        results: Mapping[str, Result] | None = None,
    ) -> Self:
        """The good end."""
        return cls(
            end_class=EndClass.DONE,
            reason="Complete",
            stage=stage,
            checkpoint=checkpoint,
            results=_finite(results or {}),
        )

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
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        document["results"] = dict(list(document["results"].items())[:results])
        kept = {
            key: _cut(value, longest) if isinstance(value, str) else value
            for key, value in document.items()
            if value not in ("", None, {})
        }
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def state_entry(stage: str, state: StageState) -> dict[str, Result]:
    """The entry that says how a stage was finished: Succeeded or Skipped."""
    return {f"{stage}/{_STATE}": state.value}


def state_of(results: Mapping[str, Result], stage: str) -> StageState | None:
    """How a stage was finished; None where the results do not say it."""
    value = results.get(f"{stage}/{_STATE}")
    return StageState(value) if value in {StageState.SUCCEEDED, StageState.SKIPPED} else None


def metric_entries(stage: str, metrics: Mapping[str, float], seconds: float) -> dict[str, Result]:
    """Entries of a stage's run time and metrics, at six digits."""
    return {f"{stage}/{name}": _short(value) for name, value in {_SECONDS: seconds, **metrics}.items()}


def metrics_of(results: Mapping[str, Result], stage: str) -> dict[str, float]:
    """A stage's metrics, `seconds` (its run time) among them."""
    return {
        key.removeprefix(f"{stage}/"): float(value)
        for key, value in results.items()
        if key.startswith(f"{stage}/") and not isinstance(value, str)
    }


def _short(value: float) -> Result:
    return int(value) if math.isfinite(value) and value == int(value) else float(f"{value:.6g}")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _finite(results: Mapping[str, Result]) -> dict[str, Result]:
    """JSON has neither NaN nor infinity."""
    return {
        key: value for key, value in results.items() if not isinstance(value, float) or math.isfinite(value)
    }
