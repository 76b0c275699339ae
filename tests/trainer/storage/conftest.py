"""Storages to test, each with an empty directory's URI."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from asrtune_trainer.storage import S3Settings, Storage, open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from tools.versitygw import S3Server


class Place(NamedTuple):
    """A storage and an empty directory in it."""

    storage: Storage
    uri: str


@pytest.fixture
def s3_settings(s3_server: S3Server, tmp_path: Path) -> S3Settings:
    return S3Settings(
        endpoint=s3_server.endpoint, credentials_dir=s3_server.write_credentials(tmp_path / "secret")
    )


@pytest.fixture
def s3_place(s3_settings: S3Settings, bucket: str) -> Place:
    uri = f"s3://{bucket}/runs/one"
    return Place(open_storage(uri, s3_settings), uri)


@pytest.fixture
def local_place(tmp_path: Path) -> Place:
    uri = str(tmp_path / "storage" / "one")
    return Place(open_storage(uri), uri)


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each kind of storage in turn."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory to publish: a marker, files at two depths, an empty one."""
    directory = tmp_path / "model"
    (directory / "weights").mkdir(parents=True)
    (directory / "manifest.json").write_text("{}")
    (directory / "weights" / "model.pt").write_bytes(bytes(range(256)) * 100)
    (directory / "a.txt").write_text("ein Text, 语音")
    (directory / "empty").touch()
    return directory
