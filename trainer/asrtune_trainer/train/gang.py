"""The processes that train together: rank, device, and the few words they exchange outside DDP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""Other ranks wait so long for one that uploads a checkpoint; that a machine is gone is seen elsewhere, and sooner."""


@dataclass(frozen=True)
class Gang:
    """One process's place in the gang."""

    rank: int
    world: int
    device: torch.device
    control: Any = None
    """gloo group for words on the CPU: they never synchronise a GPU."""
    local_rank: int = 0
    """Place among the processes of this node."""
    node: int = 0
    nodes: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def leads_node(self) -> bool:
        return self.local_rank == 0

    def wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        """DDP when there is more than one process; every trainable parameter must take part in the loss."""
        if self.world == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True)

    def any(self, flag: bool) -> bool:  # noqa: FBT001 (the flag is the subject, as in the builtin)
        """True on every rank if it is on one."""
        return self.sum([float(flag)])[0] > 0

    def sum(self, values: list[float]) -> list[float]:
        """Element-wise sum over the ranks, in float64."""
        if self.world == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=self.control)
        total: list[float] = tensor.tolist()
        return total

    def collect(self, value: Any) -> list[Any] | None:
        """Values of all ranks, on rank 0; None elsewhere."""
        if self.world == 1:
            return [value]
        values: list[Any] | None = [None] * self.world if self.leads else None
        dist.gather_object(value, values, group=self.control)
        return values

    def tell(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def wait(self) -> None:
        """Until every rank is here."""
        self.sum([0.0])


def detect_device(local_rank: int = 0) -> torch.device:
    """This process's device: its GPU when there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return torch.device("cpu")


@contextmanager
def join_gang() -> Iterator[Gang]:
    """Join the gang that torchrun's variables describe, or be alone when they are not set."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = detect_device(local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world == 1:
        yield Gang(0, 1, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    control = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    try:
        yield Gang(
            dist.get_rank(),
            world,
            device,
            control,
            local_rank=local_rank,
            node=int(os.environ["GROUP_RANK"]),
            nodes=int(os.environ["GROUP_WORLD_SIZE"]),
        )
    finally:
        dist.destroy_process_group()
