"""Fetches a model from a hub by the hub's own client. Nothing that comes along is executed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from asrtune_api.errors import AsrtuneError, SpecInvalidError, StorageUnavailableError
from asrtune_api.finetune import ModelRef
from asrtune_trainer.models.funasr_import import isolated

_CLIENTS = {"ModelScope": "modelscope.hub.snapshot_download", "HuggingFace": "huggingface_hub"}
_NETWORK = frozenset({"modelscope_hub", "modelscope", "huggingface_hub", "httpx", "requests"})
_ABSENT = frozenset(
    {"NotExistError", "RepositoryNotFoundError", "RevisionNotFoundError", "HFValidationError"}
)
_NOT_FOUND = 404
Fetching = Callable[[], AbstractContextManager[object]]
"""Makes what is entered while a model is fetched."""


def fetch_from_hub(
    ref: ModelRef, scratch: Path, *, endpoint: str | None = None, fetching: Fetching = nullcontext
) -> Path:
    """Downloads a model's files; what an earlier call finished is taken as it is.

    Args:
        ref: name on a hub, which hub, and revision.
        scratch: where to; an interrupted download goes on there.
        endpoint: URL of another hub of the same kind; by default the client decides.
        fetching: is entered while it is downloaded.

    Raises:
        SpecInvalidError: the hub has no such model or revision.
        StorageUnavailableError: the hub cannot be reached or refuses us.
    """
    assert ref.hub is not None  # a reference holds a URI or this
    name = f"{ref.hub.replace('/', '--')}@{ref.revision or 'default'}"
    directory = scratch / ref.hub_service / name
    if directory.is_dir():
        return directory
    unfinished = directory.with_name(f"{name}.unfinished")
    with fetching(), isolated():
        client: Any = importlib.import_module(_CLIENTS[ref.hub_service])
        try:
            client.snapshot_download(
                ref.hub, revision=ref.revision, local_dir=str(unfinished), endpoint=endpoint
            )
        except Exception as error:
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _NETWORK:
                raise  # the client's fault or ours, not the network's
            raise _translate(error, ref) from error
    unfinished.rename(directory)
    return directory


def _translate(error: Exception, ref: ModelRef) -> AsrtuneError:
    chain = [error, *(cause for cause in (error.__cause__, error.__context__) if cause is not None)]
    statuses = {getattr(getattr(one, "response", None), "status_code", None) for one in chain}
    what = f"{ref.hub}, revision {ref.revision}" if ref.revision else f"{ref.hub}"
    if _ABSENT & {type(one).__name__ for one in chain} or _NOT_FOUND in statuses:
        return SpecInvalidError(
            f"{ref.hub_service} has no model {what}, or does not show it to us.",
            where=f"hub {ref.hub}",
            remedy="Check name and revision, set hubService to the other hub, or log in for a private model.",
            reason="ModelNotFound",
        )
    return StorageUnavailableError(
        f"{ref.hub_service} cannot be reached for {what}: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
        where=f"hub {ref.hub}",
        remedy="Check the network, try again later, or download the model once and give its directory as uri.",
        reason="HubUnreachable",
    )
