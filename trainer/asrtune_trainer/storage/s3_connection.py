"""One process's connection to an S3 server: the client, the transfer threads, patience with outages."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Literal

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.credentials import CredentialResolver
from s3transfer.manager import TransferManager

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.storage.credentials import MountedCredentialsProvider
from asrtune_trainer.storage.s3_errors import FAILURES, is_damage, is_transient, translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from mypy_boto3_s3 import S3Client

    from asrtune_trainer.storage.settings import S3Settings
    from asrtune_trainer.storage.uri import S3Location

    T = TypeVar("T")

MULTIPART_BYTES = 16 << 20
"""Files from this size on travel in parts of this size, several at a time."""

_TRANSFER_THREADS = 8
_POOL = 64  # connections kept open: the workers of download_many plus the transfer threads
_LONGEST_PAUSE_SECONDS = 8.0
_DAMAGED_READS = 3  # what the network damaged comes right the next time, what the disk damaged never does
_ADDRESSING: dict[bool | None, Literal["path", "virtual", "auto"]] = {
    True: "path",
    False: "virtual",
    None: "auto",
}


class S3Connection:
    """The client of one process and its patience.

    Two layers try again. botocore repeats single requests (its standard mode: 5xx, throttling, time-outs, no
    connection; exponential back-off with jitter). `call` repeats what botocore cannot: bodies that break off,
    content that does not match its checksum, and outages longer than a few attempts, these only of a server that
    has answered before, so that a mistyped endpoint is told within seconds.

    Args:
        settings: how the server is reached.

    Raises:
        SpecInvalidError: the CA bundle is no readable file, or the credentials' directory is incomplete.
    """

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._answered = False
        self.client = _client(settings)
        config = TransferConfig(
            multipart_threshold=MULTIPART_BYTES,
            multipart_chunksize=MULTIPART_BYTES,
            max_concurrency=_TRANSFER_THREADS,
        )
        self.transfers = TransferManager(self.client, config)
        self.endpoint = str(self.client.meta.endpoint_url)

    def call(self, location: S3Location, operation: Callable[[], T]) -> T:
        """Runs `operation` until it succeeds, fails for good, or the patience is at its end.

        Args:
            location: what it is about, for messages.
            operation: starts from the beginning each time that it is called.

        Raises:
            AsrtuneError: as `Storage` says.
        """
        failed_at: float | None = None
        attempt = 0
        while True:
            try:
                result = operation()
            except FAILURES as error:
                attempt += 1
                now = time.monotonic()
                failed_at = now if failed_at is None else failed_at
                if not self._worth_another(error, attempt, now - failed_at):
                    raise translate(error, location, self.endpoint) from error
                time.sleep(random.uniform(0.5, 1) * min(_LONGEST_PAUSE_SECONDS, 0.25 * 2**attempt))  # noqa: S311
            else:
                self._answered = True
                return result

    def _worth_another(self, error: BaseException, attempt: int, failing_seconds: float) -> bool:
        if not is_transient(error):
            return False
        if is_damage(error):
            return attempt < _DAMAGED_READS
        return self._answered and failing_seconds < self._settings.outage_seconds


def _client(settings: S3Settings) -> S3Client:
    if settings.ca_bundle is not None and not settings.ca_bundle.is_file():
        raise SpecInvalidError(
            "there is no such CA bundle.",
            where=str(settings.ca_bundle),
            remedy="Give the path of a PEM file.",
            reason="CaBundleInvalid",
        )
    core = botocore.session.get_session()
    if settings.credentials_dir is not None:
        provider = MountedCredentialsProvider(settings.credentials_dir)
        core.register_component("credential_provider", CredentialResolver([provider]))
    session = boto3.session.Session(botocore_session=core)
    config = Config(
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
        max_pool_connections=_POOL,
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        s3={"addressing_style": _ADDRESSING[settings.path_style]},
    )
    # S3 signatures need some region; servers other than AWS take this one.
    region = settings.region or session.region_name or "us-east-1"
    verify = str(settings.ca_bundle) if settings.ca_bundle else None
    client = session.client(
        "s3", region_name=region, endpoint_url=settings.endpoint, config=config, verify=verify
    )
    client.meta.events.register("before-call.s3", _checksum_before_content)
    return client


def _checksum_before_content(params: dict[str, Any], **_: object) -> None:
    """Over TLS botocore sends a checksum behind the content, which servers other than AWS's do not all understand."""
    algorithm = params["context"].get("checksum", {}).get("request_algorithm")
    if isinstance(algorithm, dict) and algorithm["in"] == "trailer":
        algorithm["in"] = "header"
