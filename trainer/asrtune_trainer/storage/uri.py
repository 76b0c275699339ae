"""Where things lie: a plain path, ``file:///path`` or ``s3://bucket/key``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from asrtune_api.errors import SpecInvalidError

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>//.*)", re.DOTALL)
_SLASHES_FORGOTTEN = re.compile(r"(s3|file):(?!//)", re.IGNORECASE)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and what older and other servers allow.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_MAX_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html


@dataclass(frozen=True, slots=True)
class S3Location:
    """An object, or with its key as a directory's name all objects under it.

    Attributes:
        bucket: the bucket's name.
        key: no leading and no trailing slash; empty for the whole bucket.
    """

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"

    @property
    def prefix(self) -> str:
        """What the keys of all objects under it begin with."""
        return f"{self.key}/" if self.key else ""


def parse_uri(uri: str) -> Path | S3Location:
    """Says where a URI points; touches neither disk nor network.

    Args:
        uri: a plain path, ``file:///path`` (percent-decoded) or ``s3://bucket/key`` (the key as it stands).

    Raises:
        SpecInvalidError: the URI is empty, of another scheme, or malformed.
    """
    if not uri or "\0" in uri:
        raise _invalid(uri, "the URI is empty or holds a zero byte")
    if _SLASHES_FORGOTTEN.match(uri):
        raise _invalid(uri, "two slashes must follow the scheme")
    match = _SCHEME.fullmatch(uri)
    if match is None:
        return Path(uri)
    scheme, rest = match["scheme"], match["rest"]
    if scheme == "s3":
        return _parse_s3(uri, rest[2:])
    if scheme == "file":
        return _parse_file(uri)
    raise _invalid(uri, f"the scheme {scheme!r} is not supported")


def join_uri(uri: str, *names: str) -> str:
    """The URI of something under `uri`.

    Args:
        uri: a directory's URI.
        names: relative names, each of one or more parts divided by slashes.

    Raises:
        SpecInvalidError: a name is empty, absolute, or leaves the directory, or the URI is malformed.
    """
    for name in names:
        if "\0" in name or any(part in {"", ".", ".."} for part in name.split("/")):
            raise _invalid(
                uri, f"the name {name!r} does not lie under it", "Use a relative name without '..'."
            )
    location = parse_uri(uri)
    if isinstance(location, Path):
        return str(location.joinpath(*names))
    key = "/".join(part for part in (location.key, *names) if part)
    return str(_parse_s3(uri, f"{location.bucket}/{key}"))


def local_path(uri: str) -> Path | None:
    """The path of a local URI (it can be read in place), or None for one that must be downloaded."""
    location = parse_uri(uri)
    return location if isinstance(location, Path) else None


def _parse_s3(uri: str, rest: str) -> S3Location:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise _invalid(uri, f"{bucket!r} is no bucket name" if bucket else "the bucket's name is missing")
    key = key.rstrip("/")
    if key and any(part in {"", ".", ".."} for part in key.split("/")):
        raise _invalid(uri, "the key holds an empty part, '.' or '..'")
    if len(key.encode(errors="surrogatepass")) > _MAX_KEY_BYTES:
        raise _invalid(uri, f"the key is longer than {_MAX_KEY_BYTES} bytes", "Use a shorter key.")
    return S3Location(bucket, key)


def _parse_file(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"}:
        raise _invalid(uri, f"it names the host {parts.netloc!r}", "Write file:///path, with three slashes.")
    path = unquote(uri.partition("://")[2].removeprefix("localhost"))
    if not path or "\0" in path:
        raise _invalid(uri, "the path is missing or holds a zero byte")
    return Path(PurePosixPath(path))


def _invalid(uri: str, what: str, remedy: str = "") -> SpecInvalidError:
    return SpecInvalidError(
        f"{what}.",
        where=uri or "(empty URI)",
        remedy=remedy or "Write a path, file:///path or s3://bucket/key.",
        reason="UriInvalid",
    )
