"""One rank of a gang of two, as a function that another process can import."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import Stores
from asrtune_trainer.telemetry.events import TrainStep
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.setup import set_up
from tools.training import Recorder, make_job


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
