"""Killed at any moment: the same command goes on, and ends with the weights of the undisturbed run, bit by bit."""

import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest
import torch

from asrtune_trainer.stages.manifest import parse_manifest
from asrtune_trainer.train.checkpoint import verify
from tools.project import Project, make_project

RUNS = 30
IN_EVERY_TEST_RUN = (0, 1, 2)
CHAIN = ("Prepare", "Train", "Average", "Export", "Publish")
DROPOUT = {"encoder_conf": {"dropout_rate": 0.1, "output_size": 128, "linear_units": 512}}


def make(root) -> Project:
    project = make_project(root, chain=CHAIN, model_changes=DROPOUT)
    project.stage("train").update(epochs=6)
    project.write()
    return project


def published(project: Project) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(project.output / "model/model.pt", weights_only=True)
    return weights.get("state_dict", weights)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    project = make(tmp_path_factory.mktemp("undisturbed"))
    started = time.monotonic()
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return published(project), time.monotonic() - started


def kill_at_a_random_moment(
    process: subprocess.Popen[str], project: Project, rng: random.Random, seconds: float
) -> str:
    """Send SIGKILL or SIGTERM somewhere in the run; a third of the times inside a checkpoint. Returns what was done."""
    number = rng.choice([signal.SIGKILL, signal.SIGTERM])
    if rng.random() < 1 / 3:
        wanted = rng.randint(1, 8)
        seen: set[str] = set()
        while process.poll() is None and len(seen) < wanted:
            seen |= {path.name for path in (project.output / "stages/train/checkpoints").glob(".step-*")}
        where = f"in the writing of checkpoint {wanted}"
    else:
        delay = rng.uniform(0, seconds)
        where = f"after {delay:.2f} s"
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
    process.send_signal(number)
    process.communicate(timeout=120)
    return f"{number.name} {where}: exit {process.returncode}"


def assert_nothing_half_written_is_read(project: Project) -> None:
    for path in (project.output / "stages").glob("*/manifest.json"):
        manifest = parse_manifest(path.read_bytes())
        assert manifest is not None
        assert manifest.lies_in(path.parent), path
    # The writer renames whole checkpoints: what has the name is complete.
    for path in (project.output / "stages/train/checkpoints").glob("step-*"):
        assert verify(path) is not None, path
    if (project.output / "model/configuration.json").exists():
        published(project)


@pytest.mark.parametrize(
    "seed",
    [
        seed if seed in IN_EVERY_TEST_RUN else pytest.param(seed, marks=pytest.mark.soak)
        for seed in range(RUNS)
    ],
)
def test_killed_and_run_again(seed, undisturbed, tmp_path):
    weights, seconds = undisturbed
    project = make(tmp_path)
    rng = random.Random(seed)
    what = kill_at_a_random_moment(project.start(), project, rng, seconds)
    assert_nothing_half_written_is_read(project)
    done = project.run()
    print(what)
    assert done.returncode == 0, what + done.stdout + done.stderr
    after = published(project)
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], weights[name]) for name in weights), what
