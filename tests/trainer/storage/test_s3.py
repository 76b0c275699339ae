"""What only S3 does: parts, pages, checksums, a mounted Secret."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import random
from typing import TYPE_CHECKING

import pytest

from asrtune_api.errors import SpecInvalidError, StorageUnavailableError
from asrtune_trainer.storage import S3Settings, join_uri, open_storage, parse_uri
from asrtune_trainer.storage.s3_connection import MULTIPART_BYTES
from asrtune_trainer.storage.uri import S3Location
from tools.versitygw import run_versitygw

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Place
    from tools.versitygw import S3Server

pytestmark = pytest.mark.s3

LARGE = random.Random(1).randbytes(2 * MULTIPART_BYTES + 12345)  # three parts


def file_of(server: S3Server, uri: str) -> Path:
    """Where the server keeps an object."""
    location = parse_uri(uri)
    assert isinstance(location, S3Location)
    return server.directory / location.bucket / location.key


def flip_a_byte(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_large_files_travel_in_parts(
    place_large: tuple[Place, str], s3_server: S3Server, tmp_path: Path
) -> None:
    place, uri = place_large
    location = parse_uri(uri)
    assert isinstance(location, S3Location)
    head = s3_server.client().head_object(Bucket=location.bucket, Key=location.key)
    assert head["ETag"].endswith('-3"')
    place.storage.download(uri, tmp_path / "copy")
    assert hashlib.sha256((tmp_path / "copy").read_bytes()).digest() == hashlib.sha256(LARGE).digest()
    assert place.storage.read_bytes(uri) == LARGE


@pytest.fixture
def place_large(s3_place: Place, tmp_path: Path) -> tuple[Place, str]:
    uri = join_uri(s3_place.uri, "large")
    (tmp_path / "large").write_bytes(LARGE)
    s3_place.storage.upload(tmp_path / "large", uri)
    return s3_place, uri


@pytest.mark.parametrize("at", [0, MULTIPART_BYTES, len(LARGE) - 1])
def test_damage_in_a_large_file_is_caught(
    place_large: tuple[Place, str], s3_server: S3Server, tmp_path: Path, at: int
) -> None:
    place, uri = place_large
    flip_a_byte(file_of(s3_server, uri), at)
    with pytest.raises(StorageUnavailableError, match="does not match its checksum") as caught:
        place.storage.download(uri, tmp_path / "copy")
    assert caught.value.reason == "ChecksumMismatch"
    assert caught.value.where == uri
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("ours", [True, False])
def test_damage_in_a_small_file_is_caught(
    s3_place: Place, bucket: str, s3_server: S3Server, tmp_path: Path, ours: bool
) -> None:
    """Ours carry a SHA-256; of what others have uploaded, S3's own checksum is compared."""
    uri = f"s3://{bucket}/small"
    if ours:
        s3_place.storage.write_bytes(uri, b"content")
    else:
        s3_server.client().put_object(
            Bucket=bucket, Key="small", Body=b"content", ChecksumAlgorithm="CRC64NVME"
        )
    assert s3_place.storage.read_bytes(uri) == b"content"
    flip_a_byte(file_of(s3_server, uri), 3)
    with pytest.raises(StorageUnavailableError) as caught:
        s3_place.storage.download(uri, tmp_path / "copy")
    assert caught.value.reason == "ChecksumMismatch"
    with pytest.raises(StorageUnavailableError) as caught:
        s3_place.storage.read_bytes(uri)
    assert caught.value.reason == "ChecksumMismatch"
    assert list(tmp_path.glob("*copy*")) == []


def test_more_than_a_page_in_parallel(
    s3_place: Place, bucket: str, s3_server: S3Server, tmp_path: Path
) -> None:
    """1,100 objects: two pages of a listing, two batches of a deletion."""
    directory = file_of(s3_server, s3_place.uri)
    directory.mkdir(parents=True)
    for index in range(1100):
        (directory / f"{index:04}").write_bytes(index.to_bytes(2, "big") * 500)
    uris = [entry.uri for entry in s3_place.storage.entries(s3_place.uri)]
    assert uris == [join_uri(s3_place.uri, f"{index:04}") for index in range(1100)]
    pairs = [(uri, tmp_path / "out" / uri[-4:]) for uri in uris]
    done = list(s3_place.storage.download_many(pairs, workers=16))
    assert [download.path for download in done if not download.error] == [path for _, path in pairs]
    assert all(path.read_bytes() == int(path.name).to_bytes(2, "big") * 500 for _, path in pairs)
    s3_place.storage.delete(s3_place.uri)
    assert list(s3_place.storage.entries(s3_place.uri)) == []


def test_a_whole_bucket_is_listed_but_never_deleted(s3_place: Place, bucket: str) -> None:
    s3_place.storage.write_bytes(f"s3://{bucket}/a/b", b"x")
    assert [entry.name for entry in s3_place.storage.entries(f"s3://{bucket}")] == ["a/b"]
    with pytest.raises(SpecInvalidError, match="whole bucket"):
        s3_place.storage.delete(f"s3://{bucket}")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_may_use_it(s3_place: Place, method: str) -> None:
    uri = join_uri(s3_place.uri, "file")
    s3_place.storage.write_bytes(uri, b"x")
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(s3_place.storage.read_bytes.__func__, [(s3_place.storage, uri)] * 8) == [b"x"] * 8  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(s3_place.storage)).read_bytes(uri) == b"x"
    assert s3_place.storage.read_bytes(uri) == b"x"


def test_credentials_rotate_between_two_calls(tmp_path: Path) -> None:
    with run_versitygw(tmp_path / "server") as server:
        secret = server.write_credentials(tmp_path / "secret")
        server.client().create_bucket(Bucket="rotating")
        storage = open_storage("s3://rotating", S3Settings(endpoint=server.endpoint, credentials_dir=secret))
        storage.write_bytes("s3://rotating/file", b"x")
    with run_versitygw(tmp_path / "server", port=server.port, secret_key="rotated-now") as server:
        with pytest.raises(StorageUnavailableError) as caught:
            storage.read_bytes("s3://rotating/file")
        assert caught.value.reason == "AccessDenied"
        server.write_credentials(secret)
        assert storage.read_bytes("s3://rotating/file") == b"x"


def test_incomplete_secret_is_told(s3_server: S3Server, tmp_path: Path) -> None:
    secret = s3_server.write_credentials(tmp_path / "secret")
    (secret / "AWS_SECRET_ACCESS_KEY").unlink()
    settings = S3Settings(endpoint=s3_server.endpoint, credentials_dir=secret)
    with pytest.raises(SpecInvalidError, match="credentials are incomplete") as caught:
        open_storage("s3://any", settings).read_bytes("s3://any/file")
    assert caught.value.where == str(secret / "AWS_SECRET_ACCESS_KEY")


def test_standard_chain_of_credentials(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    uri, settings = f"s3://{bucket}/file", S3Settings(endpoint=s3_server.endpoint)
    with pytest.raises(StorageUnavailableError, match="no S3 credentials") as caught:
        open_storage(uri, settings).write_bytes(uri, b"x")
    assert caught.value.reason == "AccessDenied"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    open_storage(uri, settings).write_bytes(uri, b"x")
