"""A real S3 server (versitygw) on a loopback port, with its objects as files in a directory."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from tools.ports import free_port, wait_for_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from cluster.pki import Pair

_SCRIPT = Path(__file__).parents[2] / "hack" / "versitygw.sh"


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint: its URL.
        directory: bucket B's object K is the file directory/B/K.
        access_key: of the owner of everything.
        secret_key: likewise.
    """

    endpoint: str
    directory: Path
    access_key: str = "test"
    secret_key: str = "testtest"

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def client(self) -> S3Client:
        """A plain client, for what the tests do behind our back."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"total_max_attempts": 2}),
        )

    def write_credentials(self, directory: Path, *, secret_key: str | None = None) -> Path:
        """Writes the files of a mounted Secret and returns their directory."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "AWS_ACCESS_KEY_ID").write_text(self.access_key)
        (directory / "AWS_SECRET_ACCESS_KEY").write_text(f"{secret_key or self.secret_key}\n")
        return directory


def command(server: S3Server, tls: Pair | None = None) -> list[str | Path]:
    """How the server is started; its owner's keys come by `environment`."""
    binary = subprocess.run([_SCRIPT], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    secure = ["--cert", tls.certificate, "--key", tls.key] if tls else []
    # It closes each connection after one answer unless told otherwise; S3 servers in use keep them open.
    return [
        *(binary, "--port", server.endpoint.rpartition("//")[2], "--keep-alive", *secure),
        *("posix", server.directory),
    ]


def environment(server: S3Server) -> dict[str, str]:
    """The owner's keys."""
    return {"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}


@contextmanager
def run_versitygw(
    root: Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    secret_key: str = "testtest",
    tls: Pair | None = None,
) -> Iterator[S3Server]:
    """Starts a server with its objects in root/objects and stops it at the end of the block.

    Args:
        root: an empty directory, or that of a server before.
        host: address that it listens on.
        port: where it listens; a free one when not given.
        secret_key: the owner's.
        tls: its certificate and key; it then speaks HTTPS alone.
    """
    scheme = "https" if tls else "http"
    server = S3Server(f"{scheme}://{host}:{port or free_port()}", root / "objects", secret_key=secret_key)
    server.directory.mkdir(parents=True, exist_ok=True)
    with (root / "versitygw.log").open("ab") as log:
        process = subprocess.Popen(
            command(server, tls), env=os.environ | environment(server), stdout=log, stderr=log
        )
        try:
            wait_for_port(server.port, host)
            yield server
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server for the whole session; each test makes its own bucket."""
    with run_versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server, request: pytest.FixtureRequest) -> str:
    """A new, empty bucket's name."""
    taken = len(list(s3_server.directory.iterdir()))
    name = f"bucket-{taken}"
    s3_server.client().create_bucket(Bucket=name)
    return name
