"""Wrong specs: one clear message with the field and the remedy, the right exit code, and no traceback."""

import json
import shutil

import pytest

from tools.ports import free_port
from tools.project import make_project


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("template"))


@pytest.fixture
def project(template, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(template.root, root)
    return type(template)(root, json.loads(json.dumps(template.spec)))


def assert_told(done, code, *words):
    assert done.returncode == code, done.stdout + done.stderr
    message = done.stderr
    assert "Traceback" not in message + done.stdout
    assert message.count("error:") == 1, message
    for word in words:
        assert word in message, (word, message)


def test_unknown_preset(project):
    del project.spec["stages"]
    project.spec["recipe"] = {"preset": "telephone-8K"}
    project.write()
    assert_told(project.run(), 78, "spec.recipe.preset", "telephone-8K", "telephone-8k", "general-16k")


def test_learning_rate_abc(project):
    project.stage("train").update(learningRate="abc")
    project.write()
    assert_told(project.run(), 78, "learningRate", "abc", "finetune.yaml:")


def test_learning_rate_as_a_float(project):
    text = project.manifest.read_text().replace("'0.002'", "0.002")
    project.manifest.write_text(text)
    assert_told(project.run(), 78, "learningRate", "quotes")


def test_a_typing_error_in_a_field(project):
    project.stage("train")["epoch"] = project.stage("train").pop("epochs")
    project.write()
    assert_told(project.run(), 78, "epoch", "epochs")


def test_a_missing_manifest(project):
    project.manifest.unlink()
    assert_told(project.run(), 78, "finetune.yaml")


def test_a_model_directory_without_config(project):
    (project.root / "base/config.yaml").unlink()
    (project.root / "base/configuration.json").unlink()
    assert_told(project.run(), 78, "base", "config.yaml")


def test_a_model_directory_that_is_not_there(project):
    project.spec["model"]["uri"] = "bass"
    project.write()
    assert_told(project.run(), 78, "bass", "no such model directory")


def test_a_batch_smaller_than_the_longest_utterance(project):
    project.stage("train").update(batch={"unit": "Frames", "size": 60})
    project.write()
    assert_told(project.run(), 78, "stages.train.batch.size", "the largest needs")


def test_a_list_that_is_not_there(project):
    project.spec["data"]["train"][0]["uri"] = "trian.jsonl"
    project.write()
    assert_told(project.run(), 78, "spec.data.train", "trian.jsonl")


def test_an_unknown_stage_to_start_at(project):
    assert_told(project.run("--start-at", "trian"), 78, "--start-at", "trian", 'Did you mean "train"?')


@pytest.mark.s3
def test_a_missing_bucket(project, s3_server, monkeypatch):
    project.spec["output"] = {"uri": "s3://no-such-bucket/out"}
    project.spec["storage"] = {"endpoint": s3_server.endpoint, "region": "us-east-1"}
    project.write()
    assert_told(project.run(environment=keys(s3_server)), 78, "no-such-bucket", "bucket")


@pytest.mark.s3
def test_wrong_credentials(project, s3_server, bucket):
    project.spec["output"] = {"uri": f"s3://{bucket}/out"}
    project.spec["storage"] = {"endpoint": s3_server.endpoint, "region": "us-east-1"}
    project.write()
    wrong = {**keys(s3_server), "AWS_SECRET_ACCESS_KEY": "wrong"}
    done = project.run(environment=wrong)
    assert_told(done, 69, f"s3://{bucket}", "denied access", "secret")
    assert (done.stdout + done.stderr).count("denied access") == 1, "the logs' trouble is the same"


def test_an_unreachable_endpoint(project):
    project.spec["output"] = {"uri": "s3://bucket/out"}
    project.spec["storage"] = {"endpoint": f"http://127.0.0.1:{free_port()}", "region": "us-east-1"}
    project.write()
    environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    assert_told(project.run(environment=environment), 69, "127.0.0.1", "endpoint")


def test_the_termination_message_says_the_same(project):
    project.stage("train").update(batch={"unit": "Frames", "size": 60})
    project.write()
    log = project.root / "termination"
    project.run("--termination-log", str(log))
    message = json.loads(log.read_text())
    assert message["reason"] == "BatchTooSmall"
    assert message["stage"] == "train"
    assert "the largest needs" in message["message"]


def keys(server):
    return {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
