"""Runs with real pods whose every input and output lies in a bucket, on a server that can fail."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cluster.cluster import Cluster
from cluster.nodes import HOST
from cluster.process import Process
from tools.on_nodes import Workplace
from tools.ports import free_port, wait_for_port
from tools.tcp_proxy import TcpProxy, run_proxy
from tools.versitygw import S3Server, command, environment

BUCKET: Final = "speech"
SECRET: Final = "bucket"
_DATA: Final = ("base", "audio", "*.jsonl")


@dataclass(frozen=True)
class Bucket:
    """An S3 server on the network of the nodes.

    Attributes:
        server: it.
        process: the same, to be killed and started again.
        proxy: another way to it, that can be spoiled.
    """

    server: S3Server
    process: Process
    proxy: TcpProxy

    def back(self) -> None:
        """Start it again, with the data that it had."""
        self.process.start()
        wait_for_port(self.server.port, HOST)

    def add_user(self, access_key: str, secret_key: str) -> S3Server:
        """The same server as another user, who may do everything."""
        self._administer("create-user", "--access", access_key, "--secret", secret_key, "--role", "admin")
        return replace(self.server, access_key=access_key, secret_key=secret_key)

    def remove_user(self, access_key: str) -> None:
        self._administer("delete-user", "--access", access_key)

    def _administer(self, *words: str) -> None:
        owner = ("--access", self.server.access_key, "--secret", self.server.secret_key)
        asked = [self.process.command[0], "admin", *owner, "--endpoint-url", self.server.endpoint, *words]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextmanager
def run_bucket(cluster: Cluster, root: Path) -> Iterator[Bucket]:
    """A server with an empty bucket, until the end of the block."""
    server = S3Server(f"http://{HOST}:{free_port()}", root / "objects")
    users = root / "users"
    for directory in (server.directory, users):
        directory.mkdir(parents=True)
    program, *rest = command(server)
    process = cluster.processes.start("s3", [program, "--iam-dir", users, *rest], environment(server))
    try:
        wait_for_port(server.port, HOST)
        server.client().create_bucket(Bucket=BUCKET)
        with run_proxy(server.port, host=HOST) as proxy:
            yield Bucket(server, process, proxy)
    finally:
        process.stop()


class BucketPlace(Workplace):
    """A namespace with a tiny project in a bucket, and a Secret that opens it.

    Attributes:
        bucket: where the project lies.
        user: whose keys the Secret has.
    """

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        bucket: Bucket,
        *,
        programs: Sequence[Path] | None = None,
    ) -> None:
        super().__init__(cluster, directory, programs=programs)
        self.bucket = bucket
        self.uri, self.disk = f"s3://{BUCKET}", bucket.server.directory / BUCKET
        client = bucket.server.client()
        for path in (one for pattern in _DATA for found in directory.glob(pattern) for one in _files(found)):
            client.upload_file(str(path), BUCKET, path.relative_to(directory).as_posix())
        self._own["volumes"].pop()  # the project's directory
        self._own["storage"] = self.storage(bucket.proxy.endpoint)
        self.write_secret(bucket.add_user("first", "first-secret"))

    @staticmethod
    def storage(endpoint: str, secret: str = SECRET) -> dict[str, Any]:
        """A run's `storage`."""
        return {"endpoint": endpoint, "region": "us-east-1", "secretRef": {"name": secret}}

    def write_secret(self, user: S3Server, name: str = SECRET) -> None:
        """Write the credentials of a user of the server."""
        self.user = user
        keys = {"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key}
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.api.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}
        )


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
