"""`asrtune execute` as process 1 of a container: an unknown user, no home, a read-only file system."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.container import USER, contained, require_namespaces
from tools.pods import PROGRAM, Pod, descendants, start_pod, write_run
from tools.project import make_project

NO_HOME = ("env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "USER", "-u", "LOGNAME", "-u", "MPLCONFIGDIR")
REAPING = """
import os, signal, sys, time
from pathlib import Path
from asrtune_trainer.cli.process_one import be_process_one
be_process_one()
assert os.getpid() != 1 and os.getppid() == 1
for _ in range(5):
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            time.sleep(0.2)  # an orphan: its parent has gone
        os._exit(0)
    os.waitpid(child, 0)
time.sleep(1)
states = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
print("left over:", [state for state in states if state[0] == "Z"], flush=True)
if sys.argv[1] == "exit":
    sys.exit(69)
os.kill(os.getpid(), signal.SIGKILL)
"""
SIGTERM_BIT = 1 << (signal.SIGTERM - 1)


@pytest.fixture(autouse=True)
def _namespaces():
    require_namespaces()


def start_contained(project, run: Path, *arguments: str) -> Pod:
    root = project.root / "pod"
    (root / "scratch").mkdir(parents=True)
    command = contained(root, [*NO_HOME, sys.executable, "-c", PROGRAM])
    return start_pod(run, root, *arguments, command=command)


def process_one(pod: Pod) -> int:
    """Process 1 of the container, by its id outside."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in descendants(pod.process.pid):
            if PROGRAM.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        time.sleep(0.01)
    raise AssertionError("there is no process 1")


def handles_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & SIGTERM_BIT)


def test_a_chain_runs_where_only_the_workdir_can_be_written(tmp_path):
    project = make_project(tmp_path, chain=("Prepare", "Simulate", "Train", "Average", "Evaluate"))
    project.spec["output"] = {"uri": str(project.root / "pod/out")}
    project.stage("train").update(epochs=1)
    project.write()
    pod = start_contained(project, write_run(project))
    assert pod.wait() == 0, pod.said()
    assert "Traceback" not in pod.said()
    assert pod.message.results["report"].endswith("report/index.html")
    assert (project.root / "pod/scratch/home").is_dir()
    assert os.stat(project.root / "pod/out/ledger.json").st_uid == os.getuid() != USER  # noqa: PTH116 (mapped)


def test_sigterm_to_process_1_saves_a_checkpoint(tmp_path):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    project.spec["output"] = {"uri": str(project.root / "pod/out")}
    project.stage("train").update(epochs=1000)
    project.write()
    pod = start_contained(project, write_run(project))
    first = process_one(pod)
    checkpoints = project.root / "pod/out/stages/train/checkpoints"
    deadline = time.monotonic() + 200
    while not list(checkpoints.glob("step-*")):
        assert pod.process.poll() is None, pod.wait()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(first, signal.SIGTERM)
    assert pod.wait(60) == 75, pod.said()
    message = pod.message
    assert message.reason == "Interrupted"
    assert message.checkpoint is not None
    assert message.checkpoint.step == message.step
    assert (checkpoints / f"step-{message.step}/manifest.json").exists()


def test_sigterm_is_heard_long_before_the_libraries_are_there(tmp_path):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    project.spec["output"] = {"uri": str(project.root / "pod/out")}
    project.write()
    pod = start_contained(project, write_run(project))
    first, started = process_one(pod), time.monotonic()
    while not handles_sigterm(first):
        assert time.monotonic() < started + 60
        time.sleep(0.002)
    print(f"SIGTERM is handled {time.monotonic() - started:.2f} s after the interpreter's start")
    os.kill(first, signal.SIGTERM)
    assert pod.wait(60) == 75, pod.said()
    assert pod.message.reason == "Interrupted"
    assert not (project.root / "pod/out/stages").exists()


@pytest.mark.parametrize(("end", "code"), [("exit", 69), ("kill", 128 + 9)])
def test_process_1_reaps_orphans_and_ends_as_its_child(tmp_path, end, code):
    done = subprocess.run(
        contained(tmp_path, [sys.executable, "-c", REAPING, end]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "left over: []" in done.stdout
