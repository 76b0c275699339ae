"""Statuses as the API server holds them: read, compared, and told apart by what is worth a write at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from asrtune_api.evaluation import EvaluationStatus
from asrtune_api.status import FinetuneStatus, RunStatus
from asrtune_operator.state.objects import RunObject

Json = Mapping[str, Any]
_log = logging.getLogger(__name__)
_TICKING: Final = ("progress", "usage")
"""Parts that change all the time while pods run."""
_TICKING_OF_ATTEMPTS: Final = ("gpuSeconds", "lostGpuSeconds")


def read_status(run: RunObject) -> RunStatus:
    """A run's status; an empty one where it cannot be read, since a plan comes to the same end from nothing."""
    model = EvaluationStatus if run.identity.evaluation else FinetuneStatus
    try:
        return model.model_validate(run.status, by_alias=True, by_name=False)
    except ValidationError as error:
        _log.warning(
            "a status cannot be read; it is made anew",
            extra={
                "run": f"{run.identity.namespace}/{run.identity.name}",
                "error": str(error.errors()[0]["loc"]),
            },
        )
        return model()


def dump_status(status: RunStatus) -> dict[str, Any]:
    """A status as JSON; what is empty is left out."""
    document = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in document.items() if value not in ([], {})}


def difference(old: Json, new: Json) -> dict[str, Any]:
    """The JSON merge patch from one document to the other: empty where they are the same."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if nested := difference(before, value):
                patch[key] = nested
        elif before != value:
            patch[key] = value
    return patch


def only_ticks(old: Json, new: Json) -> bool:
    """Whether two statuses differ in nothing but progress and time spent."""
    return _settled(old) == _settled(new)


def _settled(status: Json) -> dict[str, Any]:
    attempts = [
        {key: value for key, value in one.items() if key not in _TICKING_OF_ATTEMPTS}
        for one in status.get("attempts") or ()
    ]
    return {**{key: value for key, value in status.items() if key not in _TICKING}, "attempts": attempts}
