"""Single operations on objects, each from the beginning whenever it is called."""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING

from botocore.exceptions import ClientError

from asrtune_trainer.storage.base import Entry
from asrtune_trainer.storage.s3_connection import MULTIPART_BYTES
from asrtune_trainer.storage.s3_errors import DamagedContentError, is_missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asrtune_trainer.storage.s3_connection import S3Connection
    from asrtune_trainer.storage.uri import S3Location

_SHA256 = (
    "asrtune-sha256"  # our own metadata: it verifies downloads in parts too, on servers without checksums too
)
_CHUNK = 1 << 20


def get(connection: S3Connection, location: S3Location, file: IO[bytes]) -> None:
    """Fills `file` with an object's content: in one stream, or in parallel parts where our SHA-256 can verify them."""
    file.seek(0)
    file.truncate()
    answer = connection.client.get_object(Bucket=location.bucket, Key=location.key)
    expected = answer["Metadata"].get(_SHA256)
    body = answer["Body"]
    with body:
        in_parts = expected is not None and answer["ContentLength"] >= MULTIPART_BYTES
        digest = hashlib.sha256()
        for chunk in () if in_parts else body.iter_chunks(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if in_parts:
        connection.transfers.download(location.bucket, location.key, file).result()
        file.seek(0)
        digest = hashlib.file_digest(file, hashlib.sha256)  # type: ignore[arg-type]  # typeshed wants readinto
    if expected not in {None, digest.hexdigest()}:
        raise DamagedContentError


def put_bytes(connection: S3Connection, location: S3Location, data: bytes) -> None:
    """Stores an object from memory."""
    metadata = {_SHA256: hashlib.sha256(data).hexdigest()}
    connection.client.put_object(Bucket=location.bucket, Key=location.key, Body=data, Metadata=metadata)


def put_file(connection: S3Connection, location: S3Location, path: Path, digest: str) -> None:
    """Stores an object from a file, in parallel parts where it is large; it appears when all parts are there."""
    extra = {"Metadata": {_SHA256: digest}}
    connection.transfers.upload(str(path), location.bucket, location.key, extra).result()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, hashlib.sha256).hexdigest()


def head(connection: S3Connection, location: S3Location) -> Entry | None:
    """What is known of an object, or None where there is none.

    Raises:
        ClientError: NoSuchBucket, among others.
    """
    try:
        found = connection.client.head_object(Bucket=location.bucket, Key=location.key)
    except ClientError as error:
        if not is_missing(error):
            raise
        # An answer to HEAD has no body that says whether the object or the bucket is missing; one to a listing has.
        connection.client.list_objects_v2(Bucket=location.bucket, Prefix=location.key, MaxKeys=1)
        return None
    return Entry(str(location), location.key.rpartition("/")[2], found["ContentLength"], found["ETag"])


def list_page(connection: S3Connection, location: S3Location, token: str) -> tuple[list[Entry], str]:
    """One page of the objects under `location`, and the token of the next page (empty after the last).

    Args:
        connection: to the server.
        location: the directory.
        token: what the page before gave; empty for the first.
    """
    at = {"ContinuationToken": token} if token else {}
    page = connection.client.list_objects_v2(Bucket=location.bucket, Prefix=location.prefix, **at)  # type: ignore[arg-type]
    found = [
        Entry(
            f"s3://{location.bucket}/{item['Key']}",
            item["Key"].removeprefix(location.prefix),
            item["Size"],
            item["ETag"],
        )
        for item in page.get("Contents", ())
        if not item["Key"].endswith("/")  # a console's stand-in for an empty directory
    ]
    return found, page.get("NextContinuationToken", "")


def delete_keys(connection: S3Connection, location: S3Location, keys: Sequence[str]) -> None:
    """Deletes up to 1,000 objects of the bucket of `location`; those that are not there do not matter.

    Raises:
        ClientError: for the first key that the server did not delete.
    """
    answer = connection.client.delete_objects(
        Bucket=location.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
    )
    for error in answer.get("Errors", ()):
        said = f"{error.get('Key')}: {error.get('Message', '')}"
        raise ClientError({"Error": {"Code": error.get("Code", ""), "Message": said}}, "DeleteObjects")
