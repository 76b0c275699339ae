"""Two machines that take turns at one output on a real S3 server."""

from datetime import UTC, datetime

import pytest

from asrtune_api.stages import StageSpec, StageType
from asrtune_trainer.stages.base import StageResult
from asrtune_trainer.stages.manifest import make_manifest
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.storage import S3Settings, Stores

pytestmark = pytest.mark.s3
STAGE = StageSpec(name="average", type=StageType.AVERAGE)


@pytest.fixture
def machines(tmp_path, s3_server, bucket):
    credentials = s3_server.write_credentials(tmp_path / "keys")
    stores = Stores(S3Settings(endpoint=s3_server.endpoint, credentials_dir=credentials))
    return [Workspace.open(f"s3://{bucket}/run", tmp_path / name, stores) for name in ("one", "two")]


def attempt(machine, fingerprint, weights):
    directory = machine.begin("average", fingerprint)
    (directory / "model.pt").write_bytes(weights)
    return directory


def finish(machine, fingerprint, weights):
    directory = attempt(machine, fingerprint, weights)
    result = StageResult(outputs={"model": "model.pt"})
    manifest = make_manifest(STAGE, fingerprint, {}, result, directory, started=datetime.now(UTC))
    machine.commit(manifest)
    return manifest


def test_files_of_the_same_size_from_another_attempt_are_not_taken(machines):
    one, two = machines
    finish(one, "a", b"old weights")
    finish(two, "b", b"new weights")
    one.fetch(one.manifest("average"))
    assert (one.directory("average") / "model.pt").read_bytes() == b"new weights"


def test_what_another_attempt_left_at_the_output_is_gone_before_the_first_file_is_written(machines):
    one, two = machines
    attempt(one, "a", b"half")
    finish(two, "b", b"other")
    assert (one.begin("average", "a") / "model.pt").read_bytes() == b"half"
    assert two.manifest("average") is None, "its files are about to be replaced"
    there = one.stores.of(one.output).entries(one.uri("average"))
    assert [entry.name for entry in there] == ["attempt.json"]


def test_another_machine_goes_on_from_an_unfinished_attempt(machines):
    one, two = machines
    directory = attempt(one, "a", b"half")
    one.mirror("average").write(directory / "model.pt")
    assert (two.begin("average", "a") / "model.pt").read_bytes() == b"half"
    assert not (two.begin("average", "b") / "model.pt").exists()
