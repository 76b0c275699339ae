"""What of a training lies on S3 before its stage is finished."""

import json

import pytest

from asrtune_api.errors import InterruptedRunError
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import S3Settings, Stores
from asrtune_trainer.train.launch import launch
from tools.training import Recorder, make_job

pytestmark = pytest.mark.s3


class Stop(StopSignal):
    """Asks to stop after the fifth step."""

    looks = 0

    def __bool__(self):
        self.looks += 1
        return self.looks >= 5


def test_the_curve_so_far_lies_beside_the_checkpoints(tmp_path, s3_server, bucket):
    credentials = s3_server.write_credentials(tmp_path / "keys")
    stores = Stores(S3Settings(endpoint=s3_server.endpoint, credentials_dir=credentials))
    uri = f"s3://{bucket}/run/stages/train"
    job = make_job(tmp_path)
    with pytest.raises(InterruptedRunError):
        launch(job, Recorder(), Mirror(stores, job.directory, uri), Stop())
    found = {entry.name for entry in stores.of(uri).entries(uri)}
    assert "checkpoints/step-5/manifest.json" in found
    lines = map(json.loads, stores.of(uri).read_bytes(f"{uri}/history.jsonl").splitlines())
    assert [line["step"] for line in lines if line["event"] == "TrainStep"] == [1, 2, 3, 4, 5]
