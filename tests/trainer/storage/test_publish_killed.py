"""A publisher that is killed leaves nothing that a reader takes for whole, and the next try mends all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from asrtune_trainer.storage import S3Settings, Storage, join_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Place
    from tools.versitygw import S3Server

pytestmark = pytest.mark.s3

FILES = 60
PUBLISH = """
import sys
from pathlib import Path
from asrtune_trainer.storage import S3Settings, open_storage
directory, uri, endpoint, secret = sys.argv[1:]
settings = S3Settings(endpoint=endpoint, credentials_dir=Path(secret))
open_storage(uri, settings).publish(Path(directory), uri)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "many"
    directory.mkdir()
    for index in range(FILES):
        (directory / f"{index:03}").write_bytes(index.to_bytes(2, "big") * 5000)
    (directory / "manifest.json").write_text("one")
    return directory


@contextmanager
def blocked(path: Path) -> Iterator[None]:
    """Makes a file one whose reader waits for ever, so that the publisher stands still there."""
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    try:
        yield
    finally:
        path.unlink()
        path.write_bytes(content)


def publish_and_kill(command: list[str], reached: Callable[[], bool]) -> None:
    """Starts a publisher and kills it when `reached` says so."""
    process = subprocess.Popen(command)
    try:
        while not reached():
            assert process.poll() is None, "the publisher ended before it could be killed"
            time.sleep(0.01)
    finally:
        process.kill()
        status = process.wait()
    assert status == -signal.SIGKILL


def command(directory: Path, uri: str, settings: S3Settings) -> list[str]:
    return [
        sys.executable,
        "-c",
        PUBLISH,
        str(directory),
        uri,
        str(settings.endpoint),
        str(settings.credentials_dir),
    ]


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def check_whole(storage: Storage, uri: str, directory: Path) -> None:
    fetched = directory.parent / "fetched"
    storage.fetch(uri, fetched)
    assert content(fetched) == content(directory)


def count(directory: Path) -> int:
    return len(list(directory.iterdir())) if directory.is_dir() else 0


@pytest.mark.parametrize("stop", ["000", "030", "manifest.json"])
def test_s3_publisher_killed(
    s3_place: Place, s3_settings: S3Settings, s3_server: S3Server, directory: Path, stop: str
) -> None:
    storage, uri = s3_place
    there = s3_server.directory / uri.removeprefix("s3://")
    marker = join_uri(uri, "manifest.json")
    publish = command(directory, uri, s3_settings)
    all_but_one = FILES if stop == "manifest.json" else FILES - 1
    with blocked(directory / stop):
        publish_and_kill(publish, lambda: count(there) >= all_but_one)
    assert storage.stat(marker) is None
    storage.publish(directory, uri)
    check_whole(storage, uri, directory)

    # Published anew with other content and killed: the old marker must not vouch for the new files.
    (directory / "manifest.json").write_text("two")
    (directory / "050").write_bytes(b"new")
    with blocked(directory / stop):
        publish_and_kill(publish, lambda: (there / "050").read_bytes() == b"new")
    assert storage.stat(marker) is None
    storage.publish(directory, uri)
    check_whole(storage, uri, directory)


@pytest.mark.parametrize("stop", ["000", "030", "manifest.json"])
def test_local_publisher_killed(
    local_place: Place, s3_settings: S3Settings, directory: Path, tmp_path: Path, stop: str
) -> None:
    storage, uri = local_place
    parent = tmp_path / "storage"
    publish = command(directory, uri, s3_settings)

    def reached() -> bool:
        return any(count(stage) >= FILES for stage in parent.glob(".one.*.partial"))

    with blocked(directory / stop):
        publish_and_kill(publish, reached)
    assert not (parent / "one").exists()
    assert list(storage.entries(str(parent))) == []
    storage.publish(directory, uri)
    check_whole(storage, uri, directory)
    assert [path.name for path in parent.iterdir()] == ["one"]

    # Published anew and killed: the old content stays whole.
    old = content(parent / "one")
    (directory / "050").write_bytes(b"new")
    with blocked(directory / stop):
        publish_and_kill(publish, reached)
    assert content(parent / "one") == old
    storage.publish(directory, uri)
    check_whole(storage, uri, directory)
