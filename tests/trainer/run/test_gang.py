"""Two processes by torchrun and gloo: one model on both ranks, uneven data, and a stop that both obey."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from asrtune_api.errors import DataInvalidError
from asrtune_trainer.data.batching import Batching, Lengths
from asrtune_trainer.data.utterance import read_utterances
from tools.gang import rank_main, resumed_main
from tools.ports import free_port
from tools.project import Project, make_project
from tools.training import make_job, train_here

PATIENCE = 200
"""Seconds after which something hangs."""


@pytest.mark.parametrize("family", ["ctc", "paraformer", "sensevoice"])
def test_both_ranks_end_with_the_same_parameters_on_uneven_data(family, tmp_path):
    make_job(tmp_path, family=family, utterances=23)  # the files, once
    multiprocessing.start_processes(
        rank_main, args=(str(tmp_path), free_port(), family), nprocs=2, start_method="spawn"
    )
    one, other = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(tensor, other["weights"][name]) for name, tensor in one["weights"].items())
    base = torch.load(tmp_path / "model/model.pt", weights_only=True)["state_dict"]
    assert any(not torch.equal(tensor, base[name]) for name, tensor in one["weights"].items())
    assert np.mean(one["losses"][-3:]) < np.mean(one["losses"][:3])


def test_four_ranks_go_on_from_a_checkpoint_without_a_rounding_error(tmp_path):
    make_job(tmp_path, model_changes={"encoder_conf": {"output_size": 128, "linear_units": 512}})  # once
    multiprocessing.start_processes(
        resumed_main, args=(str(tmp_path), free_port(), 4), nprocs=4, start_method="spawn"
    )
    (all_steps, undisturbed), (steps, resumed) = torch.load(tmp_path / "runs-0.pt", weights_only=True)
    assert steps == [step for step in all_steps if step > 4]
    assert len(steps) > 3
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in undisturbed.items())


def workers_of(pid: int) -> list[int]:
    """Process ids of the training workers below a launcher, by rank."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes()
            environment = (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ranks = [entry for entry in environment if entry.startswith(b"RANK=")]
        if b"asrtune_trainer.train.worker" in command and ranks and descends(int(directory.name), pid):
            found[int(ranks[0][5:])] = int(directory.name)
    return [found[rank] for rank in sorted(found)]


def descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def gang_in_training(root: Path) -> tuple[Project, subprocess.Popen[str], list[int]]:
    """A run of two processes that has written a checkpoint: the project, its launcher, its workers by rank."""
    project = make_project(root, chain=("Prepare", "Train"))
    project.stage("train").update(epochs=1000)
    project.spec["resources"] = {"processesPerNode": 2}
    project.write()
    process = project.start()
    deadline = time.monotonic() + PATIENCE
    while not list(project.output.glob("stages/train/checkpoints/step-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    return project, process, workers


@pytest.mark.parametrize("target", ["launcher", "rank 0", "rank 1"])
def test_sigterm_to_one_ends_both_with_a_checkpoint(target, tmp_path):
    project, process, workers = gang_in_training(tmp_path)
    os.kill({"launcher": process.pid, "rank 0": workers[0], "rank 1": workers[1]}[target], signal.SIGTERM)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)
    print(f"SIGTERM to {target}: all ended after {time.monotonic() - asked:.1f} s")
    assert process.returncode == 75, out + err
    assert "a checkpoint is saved" in err
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    again = project.start()
    while "goes on after step" not in (line := again.stdout.readline()):
        assert line, again.communicate()
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)
    assert again.returncode == 75


def test_a_gang_whose_launcher_was_killed_stops(tmp_path):
    project, process, workers = gang_in_training(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(project.output.glob("stages/train/checkpoints/step-*"))


def test_what_ails_another_rank_is_told_not_that_it_is_gone(tmp_path):
    job = make_job(tmp_path, processes=2)
    utterances = list(read_utterances(job.train))
    batching = Batching(Lengths.of(utterances, ["tiny"]), [100], job.params.batch, job.run.seed, 2)
    known = {
        *batching.epoch(0)[0][0],
        *batching.epoch(0)[0][1],
        *range(6),
    }  # the first step's, and the validation's
    lost = next(index for group in batching.epoch(0) for index in group[1] if index not in known)
    Path(utterances[lost].source).unlink()
    with pytest.raises(DataInvalidError, match=re.escape(utterances[lost].key)):
        train_here(job)
