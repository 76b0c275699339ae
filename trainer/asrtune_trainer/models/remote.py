"""A model on S3 before it is fetched."""

from __future__ import annotations

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.storage import Entry, Stores


def model_entries(stores: Stores, uri: str) -> list[Entry]:
    """The model's files.

    Args:
        stores: reads the URI.
        uri: an s3:// prefix.

    Raises:
        SpecInvalidError: there are none.
        StorageUnavailableError: the storage cannot be reached or refuses us.
    """
    if entries := list(stores.of(uri).entries(uri)):
        return entries
    raise SpecInvalidError(
        "there is no model here: nothing lies below this prefix.",
        where=uri,
        remedy="Check spec.model.uri (of an evaluation, spec.models).",
        reason="ModelNotFound",
    )
