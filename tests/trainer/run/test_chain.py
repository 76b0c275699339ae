"""`asrtune run` on a tiny model: finished stages are left alone, changed inputs repeat what hangs on them."""

import json
import signal
import time
from contextlib import suppress
from urllib.request import urlopen

import pytest

from tools.ports import free_port
from tools.project import make_project


def seconds_and_stages(project):
    """When each stage was finished."""
    return {
        path.parent.name: json.loads(path.read_text())["started"]
        for path in (project.output / "stages").glob("*/manifest.json")
    }


def repeated(before, after):
    return {name for name, started in after.items() if before.get(name) != started}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("project"))
    project.stage("export").update(verifyUtterances=2)
    project.write()
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done


def test_it_ends_with_the_table_and_the_places(finished):
    project, done = finished
    assert "tones-test" in done.stdout
    assert f"report: {project.output}/report/index.html" in done.stdout
    assert f"model: {project.output}/model" in done.stdout
    for name in ("run.json", "ledger.json", "model/configuration.json", "report/index.html", "log.jsonl"):
        assert (project.output / name).is_file(), name
    ledger = json.loads((project.output / "ledger.json").read_text())
    assert set(ledger["stages"]) == {"prepare", "train", "average", "evaluate", "export", "publish"}


def test_stock_funasr_proved_the_export(finished):
    project, done = finished
    assert "stock FunASR loads the model and decodes 2 utterances alike" in done.stdout
    assert json.loads((project.output / "stages/export/manifest.json").read_text())["details"]["proved"] == 2


def test_a_second_run_does_nothing_and_says_so(finished):
    project, _ = finished
    before = seconds_and_stages(project)
    done = project.run()
    assert done.returncode == 0
    assert "Nothing to do" in done.stdout
    assert not repeated(before, seconds_and_stages(project))


def test_a_changed_learning_rate_repeats_train_and_what_follows(finished):
    project, _ = finished
    before = seconds_and_stages(project)
    done = project.run("--set", "train.learningRate=0.001", "--set", "export.verifyUtterances=0")
    assert done.returncode == 0, done.stderr
    assert repeated(before, seconds_and_stages(project)) == {
        "train",
        "average",
        "evaluate",
        "export",
        "publish",
    }
    assert "prepare: unchanged" in done.stdout


def test_cosmetic_parameters_repeat_nothing(finished):
    project, _ = finished
    project.run("--set", "export.verifyUtterances=0")
    before = seconds_and_stages(project)
    project.run(
        "--set", "export.verifyUtterances=0", "--set", "train.logEverySteps=7", "--set", "prepare.workers=2"
    )
    assert not repeated(before, seconds_and_stages(project))


def test_start_at_and_stop_after(tmp_path):
    project = make_project(tmp_path)
    early = project.run("--start-at", "train")
    assert early.returncode == 78
    assert "needs stage prepare" in early.stderr
    assert project.run("--stop-after", "prepare").returncode == 0
    assert set(seconds_and_stages(project)) == {"prepare"}
    again = project.run("--stop-after", "prepare").stdout
    assert "Nothing to do: prepare is finished and its inputs are unchanged." in again
    assert "The rest of the chain: the same command without --stop-after." in again
    project.spec["stopAfter"] = "prepare"
    project.write()
    assert "The rest of the chain: unset stopAfter." in project.run().stdout
    del project.spec["stopAfter"]
    project.write()
    done = project.run("--start-at", "train", "--stop-after", "average")
    assert done.returncode == 0, done.stderr
    assert set(seconds_and_stages(project)) == {"prepare", "train", "average"}
    again = project.run("--start-at", "train", "--stop-after", "train").stdout
    assert "Nothing to do: train is finished" in again
    assert "What stands before train was taken as it is." in again


def test_a_second_process_is_kept_out(tmp_path):
    project = make_project(tmp_path)
    project.stage("train").update(epochs=1000)
    project.write()
    first = project.start()
    deadline = time.monotonic() + 120
    while not list((project.output / "stages").glob("train/checkpoints/step-*")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    second = project.run()
    assert second.returncode == 78
    assert "another run is working on this output" in second.stderr
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 75, err
    assert "a checkpoint is saved" in err


def test_metrics_and_progress_are_served_while_it_runs(tmp_path):
    project = make_project(tmp_path)
    project.stage("train").update(epochs=1000)
    project.write()
    port = free_port()
    process = project.start("--port", str(port))
    found = ""
    while "asrtune_train_loss" not in found:
        assert process.poll() is None, process.communicate()
        with suppress(OSError):
            found = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        time.sleep(0.1)
    progress = json.loads(urlopen(f"http://127.0.0.1:{port}/progress").read())
    assert progress["stage"] == "train"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75


def test_another_seed_simulates_and_trains_anew(tmp_path):
    project = make_project(tmp_path, chain=("Prepare", "Simulate", "Train"))
    project.stage("simulate").update(workers=1)
    project.stage("train").update(epochs=1)
    project.write()
    assert project.run().returncode == 0
    before = seconds_and_stages(project)
    assert project.run("--set", "seed=1").returncode == 0
    assert repeated(before, seconds_and_stages(project)) == {"simulate", "train"}
