"""Many small objects from S3: our parallel download against what boto3 users write, in one run on a real server.

    .venv/bin/python bench/storage_small_objects.py [--objects 2000] [--bytes 50000]

The server (versitygw, objects in a temporary directory) shares this machine's cores with the clients.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from s3transfer.manager import TransferManager

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from asrtune_trainer.storage import S3Settings, Storage, open_storage
from tools.versitygw import S3Server, run_versitygw

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET = "bench"
ROUNDS = 3


def sequential(server: S3Server, names: list[str], directory: Path) -> None:
    """boto3's download_file, one after the other, as most scripts do it."""
    client = server.client()
    for name in names:
        client.download_file(BUCKET, name, str(directory / name))


def s3transfer_defaults(server: S3Server, names: list[str], directory: Path) -> None:
    """One transfer manager with its defaults (10 threads), as the aws command line uses it."""
    with TransferManager(server.client()) as manager:
        futures = [manager.download(BUCKET, name, str(directory / name)) for name in names]
        for future in futures:
            future.result()


def ours(storage: Storage, workers: int) -> Callable[[S3Server, list[str], Path], None]:
    """Our download_many: one GET an object, verified and fsynced."""

    def download(_: S3Server, names: list[str], directory: Path) -> None:
        pairs = ((f"s3://{BUCKET}/{name}", directory / name) for name in names)
        for done in storage.download_many(pairs, workers=workers):
            if done.error:
                raise done.error

    return download


def measure(
    download: Callable[[S3Server, list[str], Path], None], server: S3Server, names: list[str]
) -> float:
    """Seconds of one download of all objects into an empty directory."""
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        download(server, names, Path(directory))
        seconds = time.perf_counter() - started
        if sorted(path.name for path in Path(directory).iterdir()) != names:
            raise SystemExit("not all objects came")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, run_versitygw(Path(root)) as server:
        secret = server.write_credentials(Path(root) / "secret")
        settings = S3Settings(endpoint=server.endpoint, credentials_dir=secret)
        storage = open_storage(f"s3://{BUCKET}", settings)
        server.client().create_bucket(Bucket=BUCKET)
        names = [f"{index:06}.wav" for index in range(options.objects)]
        for name in names:
            storage.write_bytes(
                f"s3://{BUCKET}/{name}", hashlib.shake_256(name.encode()).digest(options.bytes)
            )
        ways = {
            "boto3 download_file, sequential": sequential,
            "s3transfer, defaults": s3transfer_defaults,
            **{f"asrtune, {workers} workers": ours(storage, workers) for workers in (8, 16, 32)},
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):  # in turn, so that a busy machine is unfair to none
            for name, download in ways.items():
                seconds[name].append(measure(download, server, names))
    print(
        f"{options.objects} objects of {options.bytes} bytes, {os.cpu_count()} cores, median of {ROUNDS} rounds"
    )
    base = statistics.median(seconds["boto3 download_file, sequential"])
    for name, found in seconds.items():
        middle = statistics.median(found)
        spread = f"{min(found):.2f}-{max(found):.2f}"
        print(
            f"{name:34} {middle:6.2f} s ({spread:>11}) {options.objects / middle:6.0f}/s {base / middle:5.2f} x"
        )


if __name__ == "__main__":
    main()
