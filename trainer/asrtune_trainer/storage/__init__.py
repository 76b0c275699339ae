"""Files on local disks and S3 servers behind one interface.

`open_storage(uri)` gives the storage that a URI lies in; `Stores` keeps both kinds for lists that mix them.
"""

from __future__ import annotations

from asrtune_trainer.storage.base import MARKER, Download, Entry, Storage
from asrtune_trainer.storage.errors import ObjectMissingError
from asrtune_trainer.storage.settings import S3Settings
from asrtune_trainer.storage.stores import Stores, open_storage
from asrtune_trainer.storage.uri import S3Location, join_uri, local_path, parse_uri

__all__ = [
    "MARKER",
    "Download",
    "Entry",
    "ObjectMissingError",
    "S3Location",
    "S3Settings",
    "Storage",
    "Stores",
    "join_uri",
    "local_path",
    "open_storage",
    "parse_uri",
]
