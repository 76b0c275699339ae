"""The storage that a RunSpec describes."""

from __future__ import annotations

from pathlib import Path

from asrtune_api.runspec import RunStorage
from asrtune_trainer.storage.settings import S3Settings
from asrtune_trainer.storage.stores import Stores


def stores_of(storage: RunStorage) -> Stores:
    """Local disks, and S3 as the run wants it.

    Raises:
        SpecInvalidError: the endpoint is no URL.
    """
    return Stores(
        S3Settings(
            endpoint=storage.endpoint,
            region=storage.region,
            path_style=storage.path_style,
            credentials_dir=Path(storage.credentials_dir) if storage.credentials_dir else None,
        )
    )
