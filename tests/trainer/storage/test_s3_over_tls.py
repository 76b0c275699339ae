"""Uploads over TLS are plain requests: many S3 servers read no trailers, or leave them for the next request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asrtune_trainer.storage.s3_connection import MULTIPART_BYTES, S3Connection
from asrtune_trainer.storage.s3_objects import file_sha256, get, put_bytes, put_file
from asrtune_trainer.storage.settings import S3Settings
from asrtune_trainer.storage.uri import S3Location
from cluster.pki import Authority
from tools.versitygw import run_versitygw


@pytest.mark.parametrize("size", [3, MULTIPART_BYTES + 1])
def test_an_upload_has_its_checksum_before_its_content(tmp_path: Path, size: int) -> None:
    authority = Authority(tmp_path / "authority")
    with run_versitygw(tmp_path / "server", tls=authority.issue("s3", user="s3")) as server:
        settings = S3Settings(
            endpoint=server.endpoint,
            credentials_dir=server.write_credentials(tmp_path / "secret"),
            ca_bundle=authority.pair.certificate,
        )
        connection = S3Connection(settings)
        sent: list[Any] = []
        connection.client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
        connection.client.create_bucket(Bucket="speech")
        local = tmp_path / "data"
        local.write_bytes(bytes(size))
        here, there = (S3Location("speech", key) for key in ("memory", "file"))
        put_bytes(connection, here, local.read_bytes())
        put_file(connection, there, local, file_sha256(local))
        for location in (here, there):
            with (tmp_path / "back").open("w+b") as back:
                get(connection, location, back)
            assert (tmp_path / "back").read_bytes() == bytes(size)
    uploads = [one for one in sent if one.method == "PUT" and one.body]
    assert len(uploads) >= 2
    for one in uploads:
        assert one.headers.get("x-amz-checksum-crc32"), one.headers
        assert "x-amz-trailer" not in one.headers
        assert "aws-chunked" not in str(one.headers.get("Content-Encoding"))
    strays = [
        line for line in (tmp_path / "server/versitygw.log").read_text().splitlines() if "| / |" in line
    ]
    assert strays == []
