"""`asrtune execute` as the operator's pods call it: stage by stage, with last words that say what came of it."""

import json
import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from asrtune_api.progress import ProgressDocument
from asrtune_api.runspec import RUNSPEC_VERSION
from asrtune_api.scores import read_scores
from asrtune_api.status import StageState
from asrtune_api.termination import EndClass, metrics_of, state_of
from tools.on_s3 import put_on_s3
from tools.pods import UID, Pod, descendants, start_pod, with_port, write_run
from tools.ports import free_port
from tools.project import make_project
from tools.versitygw import run_versitygw

pytestmark = pytest.mark.timeout(600)
ME = (f"--run-uid={UID}", "--namespace=speech")


def only(stage: str) -> tuple[str, str]:
    return f"--start-at={stage}", f"--stop-after={stage}"


@pytest.fixture
def start():
    """`start_pod`, whose pods are gone at the end whatever happens."""
    with ExitStack() as stack:

        def begin(*arguments, **options) -> Pod:
            pod = start_pod(*arguments, **options)
            stack.callback(lambda: pod.process.poll() is None and pod.kill())
            return pod

        yield begin


def until(pod: Pod, ready, seconds: float = 250):
    """The first progress document for which something holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert pod.process.poll() is None, (pod.wait(), pod.said())
        with suppress(OSError):
            document: ProgressDocument = pod.progress()
            if ready(document):
                return document
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


@contextmanager
def paused(argument: str):
    """A child of this process, known by an argument, answers nobody."""
    for pid in descendants(os.getpid()):
        if argument.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            break
    else:
        raise AssertionError(f"no process has the argument {argument}")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_stage_by_stage_each_with_its_results(tmp_path, start):
    project = make_project(tmp_path)
    project.stage("train").update(epochs=1)
    project.write()
    run = write_run(project)
    said = {}
    for stage in ("prepare", "train", "average", "evaluate", "export", "publish"):
        pod = start(run, tmp_path / stage, *only(stage), *ME)
        assert pod.wait() == 0, pod.said()
        said[stage] = pod.message
        assert state_of(pod.message.results, stage) is StageState.SUCCEEDED
        assert [key for key in pod.message.results if key.endswith("/state")] == [f"{stage}/state"]
        fence = json.loads((project.output / "fence.json").read_text())
        assert fence["holder"] == {"run": "speech/tiny", "uid": UID, "stage": stage, "number": 1}
        assert fence["held"] == (stage != "publish")
    assert metrics_of(said["prepare"].results, "prepare")["utterances"] == 34
    assert metrics_of(said["train"].results, "train")["steps"] > 0
    assert said["train"].checkpoint is not None
    assert [(one.set, one.model) for one in read_scores(said["evaluate"].results)] == [
        ("tones-test", "base"),
        ("tones-test", "finetuned"),
    ]
    output = str(project.output)
    assert said["evaluate"].results["report"] == f"{output}/stages/evaluate/report/index.html"
    published = said["publish"].results
    assert (published["model"], published["report"]) == (f"{output}/model", f"{output}/report/index.html")
    assert published["ledger"] == f"{output}/ledger.json"
    assert set(json.loads((project.output / "ledger.json").read_text())["stages"]) == set(said)
    # The whole run once more, as another object of the same name: nothing is to be done, and it is told.
    again = start(run, tmp_path / "again", "--run-uid=another", "--namespace=speech")
    assert again.wait() == 0, again.said()
    assert {state_of(again.message.results, stage) for stage in said} == {StageState.SKIPPED}
    assert len(read_scores(again.message.results)) == 2


def test_a_missing_earlier_stage_is_named(tmp_path, start):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    pod = start(write_run(project), tmp_path / "pod", *only("train"), *ME)
    assert pod.wait() == 78
    assert "stage train needs stage prepare" in pod.message.message
    assert pod.message.stage == "train"


def test_what_was_finished_is_told_when_a_later_stage_fails(tmp_path, start):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    project.stage("train").update(batch={"unit": "Frames", "size": 2})
    project.write()
    pod = start(write_run(project), tmp_path / "pod", *ME)
    assert pod.wait() == 78, pod.said()
    assert (pod.message.stage, pod.message.reason) == ("train", "BatchTooSmall")
    assert state_of(pod.message.results, "prepare") is StageState.SUCCEEDED
    assert metrics_of(pod.message.results, "prepare")["utterances"] == 34
    assert not json.loads((project.output / "fence.json").read_text())["held"], "it failed for good"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "RunSpecInvalid"),
        ('{"version": "asrtune.dev/runspec/v9"}', "RunSpecVersionUnknown"),
        (json.dumps({"version": RUNSPEC_VERSION, "name": 1}), "RunSpecInvalid"),
    ],
)
def test_a_runspec_that_is_none(tmp_path, start, text, reason):
    path = tmp_path / "run.json"
    path.write_text(text)
    pod = start(path, tmp_path / "pod")
    assert pod.wait() == 78, pod.said()
    assert (pod.message.end_class, pod.message.reason) == (EndClass.SPEC_INVALID, reason)


def test_progress_is_served_from_the_start_and_tells_of_checkpoints(tmp_path, start):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    project.stage("train").update(epochs=1000)
    project.write()
    run = write_run(project)
    pod = start(run, tmp_path / "one", *ME, "--attempt=1", serve=True)
    first = until(pod, lambda _: True)
    assert (first.run, first.attempt, first.percent) == ("tiny", 1, 0)
    before = time.time()
    saved = until(pod, lambda document: document.checkpoint_at is not None)
    assert before - 60 < saved.checkpoint_at <= time.time()
    pod.terminate()
    assert pod.wait(60) == 75, pod.said()
    assert pod.message.checkpoint.step == pod.message.step >= saved.checkpoint_step
    again = start(run, tmp_path / "two", *ME, "--attempt=2", serve=True)
    resumed = until(again, lambda document: document.checkpoint_step is not None)
    assert (resumed.attempt, resumed.stage) == (2, "train")
    assert resumed.checkpoint_step >= pod.message.step
    again.kill()


def test_a_port_that_is_taken_ends_it(tmp_path, start):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    with socket.create_server(("127.0.0.1", 0)) as owner:
        run = with_port(write_run(project), owner.getsockname()[1])
        pod = start(run, tmp_path / "pod", *ME)
        assert pod.wait() == 78, pod.said()
    assert pod.message.reason == "PortInUse"
    assert not (project.output / "fence.json").exists()


@pytest.mark.s3
def test_an_attempt_that_was_given_up_ends_before_it_writes_again(tmp_path, s3_server, bucket, start):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    project.stage("train").update(epochs=400)
    environment = put_on_s3(project, s3_server, bucket)
    run = write_run(project)
    first = start(run, tmp_path / "one", *ME, "--attempt=1", environment=environment, serve=True)
    until(first, lambda document: document.checkpoint_step is not None)
    second = start(run, tmp_path / "two", *ME, "--attempt=2", environment=environment, serve=True)
    assert first.wait() == 75, first.said()
    assert first.message.reason == "Superseded"
    assert "attempt 2 at stage prepare of run speech/tiny has begun" in first.message.message
    until(second, lambda document: document.stage == "train" and document.checkpoint_at is not None)
    late = start(run, tmp_path / "late", *ME, "--attempt=1", environment=environment)
    assert late.wait() == 75, late.said()
    assert late.message.reason == "Superseded"
    other = start(run, tmp_path / "other", "--run-uid=x", "--namespace=vision", environment=environment)
    assert other.wait() == 78, other.said()
    assert other.message.reason == "OutputInUse"
    assert "run speech/tiny" in other.message.message
    laptop = project.run(environment=environment)
    assert laptop.returncode == 78
    assert "speech/tiny" in laptop.stderr
    second.kill()


@pytest.mark.s3
def test_a_checkpoint_that_cannot_be_saved_in_time_is_told(tmp_path, start):
    with run_versitygw(tmp_path, port=free_port()) as server:
        server.client().create_bucket(Bucket="runs")
        project = make_project(tmp_path / "project", chain=("Prepare", "Train"))
        project.stage("train").update(epochs=100_000)
        environment = put_on_s3(project, server, "runs")
        run = write_run(project)
        pod = start(run, tmp_path / "pod", *ME, "--grace-period=4", environment=environment, serve=True)
        saved = until(pod, lambda document: document.checkpoint_step is not None)
        with paused(str(server.directory)):
            pod.terminate()
            asked = time.monotonic()
            assert pod.wait(60) == 75, pod.said()
            assert 3.5 < time.monotonic() - asked < 15
    assert pod.message.reason == "GracePeriodExceeded"
    assert pod.message.checkpoint.step >= saved.checkpoint_step
    assert state_of(pod.message.results, "prepare") is StageState.SUCCEEDED


def test_a_second_process_at_one_scratch_directory_waits_for_the_first(tmp_path, start):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    project.stage("train").update(epochs=1000)
    project.write()
    run = write_run(project)
    first = start(run, tmp_path / "one", *ME, "--attempt=1", serve=True)
    until(first, lambda document: document.step > 0)
    second = start(run, tmp_path / "two", *ME, "--attempt=2", serve=True)
    time.sleep(5)
    assert second.process.poll() is None
    first.process.send_signal(signal.SIGTERM)
    assert first.wait(60) == 75, first.said()
    until(second, lambda document: document.checkpoint_step is not None)
    second.terminate()
    assert second.wait(60) == 75, second.said()
