"""Lists, audio, model and output on a real S3 server; another machine goes on where the first was killed."""

import json
import shutil
import signal
import time

import pytest
import torch

from asrtune_trainer.storage import S3Settings, open_storage
from tools.on_s3 import put_on_s3
from tools.project import make_project

pytestmark = pytest.mark.s3


def keys_of(server, bucket):
    listed = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="runs/one/")
    return {entry["Key"].removeprefix("runs/one/") for page in listed for entry in page.get("Contents", [])}


def test_a_run_from_s3_to_s3_that_another_machine_finishes(tmp_path, s3_server, bucket):
    project = make_project(tmp_path / "project")
    project.stage("train").update(epochs=30)
    environment = put_on_s3(project, s3_server, bucket)

    first = project.start(environment=environment)
    deadline = time.monotonic() + 200
    while not any(
        "checkpoints/step-" in key and key.endswith("manifest.json") for key in keys_of(s3_server, bucket)
    ):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    shutil.rmtree(project.root / "work")  # the machine is gone

    second = project.run(environment=environment)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "goes on after step" in second.stdout
    assert "prepare: unchanged" in second.stdout
    found = keys_of(s3_server, bucket)
    assert {"run.json", "ledger.json", "model/configuration.json", "report/index.html"} <= found
    assert all(
        f"stages/{name}/manifest.json" in found
        for name in ("prepare", "train", "average", "evaluate", "export")
    )

    shutil.rmtree(project.root / "work")
    third = project.run(environment=environment)
    assert third.returncode == 0, third.stderr
    assert "Nothing to do" in third.stdout

    settings = S3Settings(
        endpoint=s3_server.endpoint,
        region="us-east-1",
        credentials_dir=s3_server.write_credentials(tmp_path / "keys"),
    )
    storage = open_storage(f"s3://{bucket}", settings)
    storage.fetch(f"s3://{bucket}/runs/one/model", tmp_path / "model")
    assert torch.load(tmp_path / "model/model.pt", weights_only=True)
    ledger = json.loads(storage.read_bytes(f"s3://{bucket}/runs/one/ledger.json"))
    assert ledger["stages"]["train"]["metrics"]["steps"] > 0
