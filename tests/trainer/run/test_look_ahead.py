"""What would fail the training for certain fails the run before its first stage, not after a night of Prepare."""

import pytest

from tools.pods import UID, start_pod, write_run
from tools.project import Project, make_project


def run_and_see_no_preparation(project: Project, *arguments: str, **options: object) -> str:
    """What the run says; it must end with 78 before anything was prepared."""
    done = project.run(*arguments, **options)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (project.output / "stages/prepare").exists()
    return done.stderr


def test_gpus_that_are_not_there(tmp_path):
    told = run_and_see_no_preparation(make_project(tmp_path), "--set", "resources.gpusPerNode=64")
    assert "64 GPUs are asked for" in told
    assert "--set resources.gpusPerNode=" in told


def test_nodes_that_are_not_there(tmp_path):
    told = run_and_see_no_preparation(make_project(tmp_path), "--set", "resources.nodes=2")
    assert "the gang has 2 nodes, but this is one machine" in told


def test_a_model_of_a_class_that_is_not_trained(tmp_path):
    project = make_project(tmp_path)
    config = project.root / "base/config.yaml"
    config.write_text(config.read_text().replace("model: CTC\n", "model: FunASRNano\n"))
    assert "the model class FunASRNano is not supported" in run_and_see_no_preparation(project)


def test_a_finished_training_is_not_thrown_away_for_one_that_cannot_start(tmp_path):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    assert project.run("--set", "train.maxSteps=2").returncode == 0
    stage = project.output / "stages/train"
    before = sorted(path for path in stage.rglob("*") if path.is_file())
    done = project.run("--set", "train.maxSteps=2", "--set", "resources.gpusPerNode=64")
    assert done.returncode == 78, done.stdout + done.stderr
    assert sorted(path for path in stage.rglob("*") if path.is_file()) == before


@pytest.mark.s3
def test_a_pod_that_prepares_sees_that_the_model_is_not_on_s3(tmp_path, s3_server, bucket):
    project = make_project(tmp_path)
    project.spec["model"]["uri"] = f"s3://{bucket}/models/bass"
    project.spec["storage"] = {"endpoint": s3_server.endpoint, "region": "us-east-1"}
    project.write()
    keys = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    assert project.run("--stop-after", "prepare", environment=keys).returncode == 0  # the data alone

    project.spec["output"] = {"uri": "other"}
    project.write()
    part = ("--start-at=prepare", "--stop-after=prepare", f"--run-uid={UID}", "--namespace=speech")
    pod = start_pod(write_run(project), tmp_path / "pod", *part, environment=keys)
    assert pod.wait() == 78, pod.said()
    assert f"s3://{bucket}/models/bass: there is no model here: nothing lies below" in pod.said()
    assert not (project.output / "stages/prepare").exists()


def test_what_is_behind_is_not_looked_at(tmp_path):
    """A trained model is evaluated on a machine without the GPUs that it was trained on."""
    project = make_project(tmp_path, chain=("Prepare", "Train", "Evaluate"))
    assert project.run("--stop-after", "train").returncode == 0
    done = project.run("--start-at", "evaluate", "--set", "resources.gpusPerNode=64")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_preset_for_another_kind_of_model_is_warned_of(tmp_path):
    project = make_project(tmp_path)
    del project.spec["stages"]
    project.spec["recipe"] = {"preset": "dysarthric-paraformer"}
    project.write()
    ask = ("--stop-after", "train", "--set", "train.maxSteps=1", "--set", "train.workers=0")
    out = project.run(*ask).stdout
    (warning,) = (line for line in out.splitlines() if "preset" in line)
    assert warning == (
        "train: warning: the preset was made for Paraformer, and this model is a CTC: its values may not suit"
    )
    assert out.index("warning: the preset") < out.index("] prepare")

    # A training that stands is not looked at, whatever is repeated before it.
    (project.output / "stages/prepare/manifest.json").unlink()
    again = project.run(*ask).stdout
    assert "train: unchanged, skipped" in again
    assert "preset" not in again
