"""How an S3 server is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from asrtune_api.errors import SpecInvalidError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """How an S3 server is reached; the defaults are AWS and the standard chain of credentials.

    Attributes:
        endpoint: ``http(s)://host[:port]``; None for AWS.
        region: the bucket's region; None for the standard chain's.
        path_style: the bucket in the path (True) or in the host name (False, as Alibaba OSS wants it); None for
            the path where an endpoint is given, else the host name.
        ca_bundle: PEM file of the authorities that may sign the server's certificate; None for the system's.
        credentials_dir: directory with the files AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if need be,
            AWS_SESSION_TOKEN (a mounted Secret), read again when they change; None for the standard chain.
        max_attempts: tries of one request before it counts as failed, the first one included.
        outage_seconds: how long a server that has answered this process before is waited for.
        connect_timeout_seconds: for one try to connect.
        read_timeout_seconds: for silence while an answer is awaited.

    Raises:
        SpecInvalidError: the endpoint is no URL, or a number is out of range.
    """

    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    ca_bundle: Path | None = None
    credentials_dir: Path | None = None
    max_attempts: int = 5
    outage_seconds: float = 120.0
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            _check_endpoint(self.endpoint)
        for name, value, least in (
            ("max_attempts", self.max_attempts, 1),
            ("outage_seconds", self.outage_seconds, 0),
            ("connect_timeout_seconds", self.connect_timeout_seconds, 0.001),
            ("read_timeout_seconds", self.read_timeout_seconds, 0.001),
        ):
            if not value >= least:
                raise SpecInvalidError(
                    f"{value} is out of range.", where=f"S3 {name}", remedy=f"Set it to {least} or more."
                )


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not match
        usable = False
    if not usable:
        raise SpecInvalidError(
            f"{endpoint!r} is no endpoint.",
            where="S3 endpoint",
            remedy="Write http://HOST:PORT or https://HOST.",
            reason="EndpointInvalid",
        )
