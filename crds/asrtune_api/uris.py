"""Where a manifest's paths lead: absolute local paths and s3 URIs."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote

from asrtune_api.errors import SpecInvalidError

_ALMOST: Final = re.compile(r"(s3|file):", re.IGNORECASE)


def absolute_uri(uri: str, base: str | None, *, where: str) -> str:
    """The absolute local path or s3 URI that a manifest's URI stands for; touches no disk.

    Args:
        uri: a path, file:///path or s3://bucket/key.
        base: what relative paths start from, the manifest's directory (absolute) or its s3:// prefix; None where
            there is no such thing, as for an object on a cluster.
        where: the field, for messages.

    Raises:
        SpecInvalidError: the URI is relative and there is no base, leaves its bucket, or begins with ~.
    """
    if uri.startswith("s3://"):
        return uri
    if uri.startswith("file:///"):
        return posixpath.normpath(unquote(uri.removeprefix("file://")))
    if _ALMOST.match(uri):
        raise SpecInvalidError(
            f'"{uri}" is no URI that asrtune reads.',
            where=where,
            remedy="Write s3://bucket/key or file:///path, in small letters and with these slashes.",
            reason="UriInvalid",
        )
    if uri == "~" or uri.startswith("~/"):
        raise SpecInvalidError(
            f'"{uri}": ~ is not expanded.', where=where, remedy="Write the path in full.", reason="UriInvalid"
        )
    if uri.startswith("/"):
        return posixpath.normpath(uri)
    if base is None:
        raise SpecInvalidError(
            f'"{uri}" is a relative path, which means nothing on a cluster.',
            where=where,
            remedy="Write s3://bucket/key.",
            reason="UriInvalid",
        )
    if base.startswith("s3://"):
        return _join_s3(base, uri, where)
    if not base.startswith("/"):
        raise ValueError(f"base {base!r} must be an absolute path or an s3 URI")
    return posixpath.normpath(posixpath.join(base, uri))


def stage_uri(output: str, stage: str) -> str:
    """Where a stage's files lie at a run's output (an absolute path or s3 URI)."""
    return f"{output.rstrip('/')}/stages/{stage}"


def _join_s3(base: str, uri: str, where: str) -> str:
    bucket, _, key = base.removeprefix("s3://").partition("/")
    joined = posixpath.normpath(posixpath.join(key, uri))
    if joined == ".." or joined.startswith("../"):
        raise SpecInvalidError(
            f'"{uri}" leaves the bucket {bucket} of the manifest.',
            where=where,
            remedy="Write the whole URI, s3://bucket/key.",
            reason="UriInvalid",
        )
    return f"s3://{bucket}" if joined == "." else f"s3://{bucket}/{joined}"
