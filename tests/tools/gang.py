"""One rank of a gang of two, as a function that another process can import."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
import torch.distributed as dist

from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import Stores
from asrtune_trainer.telemetry.events import TrainStep
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.job import TrainJob
from asrtune_trainer.train.setup import set_up
from tools.training import Recorder, make_job


def resumed_main(rank: int, root: str, port: int, world: int) -> None:
    """One rank that trains, and then once more from a checkpoint in the middle; leaves what both came to."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    gang = Gang(rank, world, torch.device("cpu"), dist.group.WORLD)
    first = make_job(Path(root), processes=world, every_steps=1, keep_last=100, epochs=6)
    second = first.model_copy(update={"directory": Path(root) / "second"})
    if rank == 0:
        shutil.rmtree(second.directory, ignore_errors=True)
    runs = [_train(first, gang)]
    if rank == 0:
        shutil.copytree(first.directory / "checkpoints/step-4", second.directory / "checkpoints/step-4")
    gang.wait()
    runs.append(_train(second, gang))
    torch.save(runs, Path(root) / f"runs-{rank}.pt")
    dist.destroy_process_group()


def _train(job: TrainJob, gang: Gang) -> tuple[list[int], dict[str, torch.Tensor]]:
    """The steps that were taken, and the weights at the end."""
    recorder = Recorder()
    ready = set_up(job, gang, recorder, Mirror(Stores(), job.directory, job.stage_uri), StopSignal())
    ready.trainer.run()
    ready.checkpoints.close()
    return [event.step for event in recorder.of(TrainStep)], ready.trainer.model.module.state_dict()


def rank_main(rank: int, root: str, port: int, family: str) -> None:
    """One rank of a gang; leaves its weights and losses."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    gang = Gang(rank, 2, torch.device("cpu"), dist.group.WORLD)
    job = make_job(Path(root), family=family, processes=2, utterances=23)
    recorder = Recorder()
    ready = set_up(job, gang, recorder, Mirror(Stores(), job.directory, job.stage_uri), StopSignal())
    ready.trainer.run()
    ready.checkpoints.close()
    weights = ready.trainer.model.module.state_dict()
    losses = [event.loss for event in recorder.of(TrainStep)]
    torch.save({"weights": weights, "losses": losses}, Path(root) / f"rank-{rank}.pt")
    dist.destroy_process_group()
