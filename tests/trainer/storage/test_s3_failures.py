"""What networks, servers and typing errors do to S3."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from asrtune_api.errors import AsrtuneError, SpecInvalidError, StorageUnavailableError
from asrtune_trainer.storage import S3Settings, Storage, join_uri, open_storage
from asrtune_trainer.storage.s3_connection import MULTIPART_BYTES
from tools.ports import free_port
from tools.tcp_proxy import Fault, TcpProxy, run_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.versitygw import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.timeout(120)]

RESET, ERROR_500, ERROR_503 = Fault(reset=True), Fault(status=500), Fault(status=503)
CONTENT = b"abcdefgh" * 40_000
FLIP = (b"abcdefgh" * 3, b"abcdefgX" * 3)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[TcpProxy]:
    with run_proxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(proxy: TcpProxy, s3_settings: S3Settings) -> Callable[..., Storage]:
    """Makes a storage that reaches the server through the proxy."""
    return lambda **changes: open_storage(
        "s3://any", replace(s3_settings, endpoint=proxy.endpoint, **changes)
    )


@pytest.mark.parametrize("fault", [RESET, ERROR_500, ERROR_503], ids=["reset", "500", "503"])
def test_failing_requests_are_repeated(
    proxy: TcpProxy, through_proxy: Callable[..., Storage], bucket: str, fault: Fault
) -> None:
    uri = f"s3://{bucket}/file"
    storage = through_proxy()
    proxy.faults[:] = [fault, fault]
    storage.write_bytes(uri, CONTENT)
    proxy.close_connections()
    proxy.faults[:] = [fault, fault]
    assert storage.read_bytes(uri) == CONTENT
    assert proxy.connections >= 6
    assert not proxy.faults


def test_silent_server_is_asked_again(
    proxy: TcpProxy, through_proxy: Callable[..., Storage], bucket: str
) -> None:
    proxy.faults[:] = [Fault(silent=True)]
    through_proxy(read_timeout_seconds=0.5).write_bytes(f"s3://{bucket}/file", CONTENT)
    assert proxy.connections == 2


@pytest.mark.parametrize(
    ("fault", "times"), [(Fault(cut_after=100_000), 2), (Fault(flip=FLIP), 1)], ids=["cut", "flip"]
)
def test_broken_bodies_are_read_again(
    proxy: TcpProxy,
    through_proxy: Callable[..., Storage],
    bucket: str,
    tmp_path: Path,
    fault: Fault,
    times: int,
) -> None:
    uri = f"s3://{bucket}/file"
    storage = through_proxy()
    storage.write_bytes(uri, CONTENT)
    reads = [partial(storage.read_bytes, uri), partial(downloaded, storage, uri, tmp_path)]
    for read in reads:
        proxy.close_connections()
        proxy.faults[:] = [fault] * times
        assert read() == CONTENT
        assert not proxy.faults


def downloaded(storage: Storage, uri: str, directory: Path) -> bytes:
    storage.download(uri, directory / "copy")
    return (directory / "copy").read_bytes()


def test_bytes_that_always_flip_are_told(
    proxy: TcpProxy, through_proxy: Callable[..., Storage], bucket: str, tmp_path: Path
) -> None:
    uri = f"s3://{bucket}/file"
    storage = through_proxy(max_attempts=2)
    storage.write_bytes(uri, CONTENT)
    proxy.close_connections()
    proxy.faults[:] = [Fault(flip=FLIP, flips=1000)]
    with pytest.raises(StorageUnavailableError) as caught:
        storage.download(uri, tmp_path / "copy")
    assert caught.value.reason == "ChecksumMismatch"
    assert not (tmp_path / "copy").exists()


def test_large_upload_and_download_survive_resets(
    proxy: TcpProxy, through_proxy: Callable[..., Storage], bucket: str, tmp_path: Path
) -> None:
    uri, large = f"s3://{bucket}/large", random.Random(2).randbytes(2 * MULTIPART_BYTES)
    (tmp_path / "large").write_bytes(large)
    storage = through_proxy()
    proxy.faults[:] = [RESET, Fault(), ERROR_500, Fault(), RESET]
    storage.upload(tmp_path / "large", uri)
    proxy.close_connections()
    proxy.faults[:] = [RESET, Fault(), Fault(cut_after=1 << 20), RESET]
    assert downloaded(storage, uri, tmp_path) == large


def test_server_that_answered_before_is_waited_for(
    proxy: TcpProxy, through_proxy: Callable[..., Storage], bucket: str
) -> None:
    """An outage longer than all attempts of one request: here three requests of one attempt each."""
    uri = f"s3://{bucket}/file"
    storage = through_proxy(max_attempts=1)
    storage.write_bytes(uri, b"x")
    proxy.close_connections()
    proxy.faults[:] = [RESET, RESET, RESET]
    assert storage.read_bytes(uri) == b"x"
    proxy.close_connections()
    proxy.faults[:] = [RESET] * 3
    impatient = through_proxy(max_attempts=1)  # has never been answered
    with pytest.raises(StorageUnavailableError):
        impatient.read_bytes(uri)
    assert len(proxy.faults) == 2


def every_call(storage: Storage, uri: str, directory: Path) -> Iterator[Callable[[], object]]:
    (directory / "model").mkdir(exist_ok=True)
    (directory / "model" / "manifest.json").touch()
    yield lambda: storage.read_bytes(uri)
    yield lambda: storage.write_bytes(uri, b"x")
    yield lambda: storage.download(uri, directory / "copy")
    yield lambda: storage.upload(directory / "model" / "manifest.json", uri)
    yield lambda: storage.stat(uri)
    yield lambda: list(storage.entries(uri))
    yield lambda: storage.delete(uri)
    yield lambda: storage.publish(directory / "model", uri)
    yield lambda: storage.fetch(uri, directory / "fetched")
    yield lambda: list(storage.download_many([(uri, directory / "copy")]))


def told(storage: Storage, uri: str, directory: Path) -> Iterator[AsrtuneError]:
    for call in every_call(storage, uri, directory):
        with pytest.raises(AsrtuneError) as caught:
            call()
        assert caught.value.remedy
        assert caught.value.where.startswith(uri)
        yield caught.value
    assert not (directory / "copy").exists()
    assert not (directory / "fetched").exists()


def test_missing_bucket_is_told(s3_settings: S3Settings, s3_server: S3Server, tmp_path: Path) -> None:
    uri = "s3://no-such-bucket/dir/file"
    for error in told(open_storage(uri, s3_settings), uri, tmp_path):
        assert isinstance(error, SpecInvalidError)
        assert error.reason == "BucketMissing"
        assert "'no-such-bucket' does not exist at " + s3_server.endpoint in str(error)


def test_wrong_secret_is_told(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    secret = s3_server.write_credentials(tmp_path / "wrong", secret_key="guess")
    settings = S3Settings(endpoint=s3_server.endpoint, credentials_dir=secret)
    uri = f"s3://{bucket}/dir/file"
    for error in told(open_storage(uri, settings), uri, tmp_path):
        assert isinstance(error, StorageUnavailableError)
        assert error.reason == "AccessDenied"
        assert "guess" not in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_unreachable_endpoint_is_told(s3_settings: S3Settings, tmp_path: Path, host: str) -> None:
    endpoint = f"http://{host}:{free_port()}"
    uri = "s3://bucket/file"
    storage = open_storage(uri, replace(s3_settings, endpoint=endpoint, max_attempts=2))
    for error in told(storage, uri, tmp_path):
        assert isinstance(error, StorageUnavailableError)
        assert error.reason == "EndpointUnreachable"
        assert endpoint in str(error)


def test_https_to_a_plain_server_is_told(
    s3_settings: S3Settings, s3_server: S3Server, tmp_path: Path
) -> None:
    settings = replace(s3_settings, endpoint=s3_server.endpoint.replace("http:", "https:"))
    with pytest.raises(StorageUnavailableError) as caught:
        open_storage("s3://bucket", settings).read_bytes("s3://bucket/file")
    assert caught.value.reason == "CertificateRejected"


def test_missing_ca_bundle_is_told(s3_settings: S3Settings, tmp_path: Path) -> None:
    settings = replace(s3_settings, ca_bundle=tmp_path / "none.pem")
    with pytest.raises(SpecInvalidError, match="no such CA bundle"):
        open_storage("s3://bucket", settings).read_bytes("s3://bucket/file")


def test_file_beside_a_directory_of_its_name_is_told(s3_settings: S3Settings, bucket: str) -> None:
    """S3 allows it, servers on file systems do not."""
    storage = open_storage("s3://any", s3_settings)
    storage.write_bytes(f"s3://{bucket}/name/file", b"x")
    with pytest.raises(AsrtuneError, match="refused the request") as caught:
        storage.write_bytes(f"s3://{bucket}/name", b"x")
    assert caught.value.where == join_uri(f"s3://{bucket}", "name")
