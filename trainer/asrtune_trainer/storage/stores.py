"""Chooses the storage that a URI lies in."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from asrtune_trainer.storage.base import Storage
from asrtune_trainer.storage.local import LocalStorage
from asrtune_trainer.storage.settings import S3Settings
from asrtune_trainer.storage.uri import parse_uri


class Stores:
    """The local storage and one S3 server's, each opened when first asked for.

    Args:
        s3: how the S3 server is reached.
    """

    def __init__(self, s3: S3Settings | None = None) -> None:
        self._settings = s3 or S3Settings()
        self._local = LocalStorage()

    def of(self, uri: str) -> Storage:
        """The storage that `uri` lies in.

        Raises:
            SpecInvalidError: the URI is malformed.
        """
        return self._local if isinstance(parse_uri(uri), Path) else self._s3

    @cached_property
    def _s3(self) -> Storage:
        from asrtune_trainer.storage.s3 import S3Storage  # noqa: PLC0415  boto3 takes a third of a second

        return S3Storage(self._settings)


def open_storage(uri: str, s3: S3Settings | None = None) -> Storage:
    """The storage that `uri` lies in; see `Stores` for lists that mix local and S3 URIs."""
    return Stores(s3).of(uri)
