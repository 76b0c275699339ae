"""examples/manifests/private-s3.yaml: a private authority signed the server's certificate; its PEM is in the Secret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import yaml

from asrtune_api.errors import StorageUnavailableError
from asrtune_trainer.storage import S3Settings, open_storage
from cluster.pki import Authority
from tools.versitygw import run_versitygw

EXAMPLE = Path(__file__).parents[3] / "examples/manifests/private-s3.yaml"
MOUNTED = "/etc/asrtune/credentials"
URI = "s3://speech/lists/train.jsonl"


def test_the_example_reaches_a_server_of_a_private_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, runtime, _ = yaml.safe_load_all(EXAMPLE.read_text())
    [variable] = runtime["spec"]["pod"]["env"]
    assert variable["name"] == "AWS_CA_BUNDLE"
    key = variable["value"].removeprefix(f"{MOUNTED}/")
    assert key in secret["stringData"]
    authority = Authority(tmp_path / "authority")
    with run_versitygw(tmp_path / "server", tls=authority.issue("s3", user="s3")) as server:
        mounted = server.write_credentials(tmp_path / "secret")
        (mounted / key).write_bytes(authority.pair.certificate.read_bytes())
        owner = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            verify=str(authority.pair.certificate),
        )
        owner.create_bucket(Bucket="speech")
        settings = S3Settings(endpoint=server.endpoint, credentials_dir=mounted)
        with pytest.raises(StorageUnavailableError) as caught:
            open_storage(URI, replace(settings, max_attempts=1)).read_bytes(URI)
        assert caught.value.reason == "CertificateRejected"
        monkeypatch.setenv(variable["name"], str(mounted / key))
        storage = open_storage(URI, settings)
        storage.write_bytes(URI, b"{}\n")
        assert storage.read_bytes(URI) == b"{}\n"
