"""Runs a training job: in this process when it is alone, else as a gang of processes by torchrun."""

from __future__ import annotations

import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_api.runspec import Gang as GangSpec
from asrtune_trainer.stages.base import Node
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.telemetry.events import Telemetry, Waiting, WaitKind
from asrtune_trainer.train.gang import Gang, detect_device
from asrtune_trainer.train.gang_processes import GangProcesses
from asrtune_trainer.train.job import TrainJob, TrainSummary
from asrtune_trainer.train.nodes.peers import Meeting
from asrtune_trainer.train.worker import train

ALONE = Node()


def launch(
    job: TrainJob, telemetry: Telemetry, mirror: Mirror, stop: StopSignal, node: Node = ALONE
) -> TrainSummary:
    """Train as the job's gang says, this machine's part of it.

    Raises:
        AsrtuneError: as the training says, or if a process of the gang died.
        Finished: this is not node 0, which has nothing to train any more.
    """
    gang = job.run.gang
    check_machine(gang, node)
    meeting = _meet(job, telemetry, node) if gang.nodes > 1 else None
    if gang.nodes * gang.processes_per_node == 1:
        return train(job, Gang(0, 1, detect_device()), telemetry, mirror, stop)
    return GangProcesses(job, telemetry, stop, node, meeting).run()


def _meet(job: TrainJob, telemetry: Telemetry, node: Node) -> Meeting:
    """Wait for the other nodes, and say so."""
    said: list[str] = []

    def report(what: str) -> None:
        if what != (said[-1] if said else ""):
            said.append(what)
            kind = WaitKind.RENDEZVOUS if what else WaitKind.NOTHING
            telemetry.emit(Waiting(job.stage, kind, what))

    assert node.peers is not None
    return node.peers.meet(job.fingerprint, report)


def check_machine(gang: GangSpec, node: Node) -> None:
    """A gang of several nodes must know the others; one that asks for GPUs must find them (NCCL: one process a GPU).

    Raises:
        SpecInvalidError: if it does not.
    """
    if gang.nodes > 1 and node.peers is None:
        raise SpecInvalidError(
            f"the gang has {gang.nodes} nodes, but this is one machine.",
            where="spec.resources.nodes",
            remedy="Run it with --set resources.nodes=1, or apply it to a cluster.",
            reason="RendezvousMissing",
        )
    there = torch.cuda.device_count()
    wanted = max(gang.gpus_per_node, gang.processes_per_node if there and gang.processes_per_node > 1 else 0)
    if wanted > there:
        raise SpecInvalidError(
            f"{wanted} GPUs are asked for, but this machine shows {there}.",
            where="spec.resources.gpusPerNode",
            remedy=f"Run it with --set resources.gpusPerNode={there}, or check the driver and CUDA_VISIBLE_DEVICES.",
            reason="DevicesMissing",
        )
