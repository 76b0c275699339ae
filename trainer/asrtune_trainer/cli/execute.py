"""`asrtune execute`: a part of a resolved run, as a pod does it."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asrtune_api.errors import SpecInvalidError
from asrtune_api.runspec import RunSpec, parse_runspec
from asrtune_api.stages import StageType
from asrtune_trainer.cli.failing import Termination
from asrtune_trainer.cli.last_words import start_last_words
from asrtune_trainer.cli.surroundings import settle
from asrtune_trainer.cli.walking import Walk, first_stage, follow, last_stage, lead, part_of
from asrtune_trainer.stages.base import Node
from asrtune_trainer.stages.fence import Attempt
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.nodes.follower import Follower
from asrtune_trainer.train.nodes.leader import Leader
from asrtune_trainer.train.nodes.peers import Peers


@dataclass(frozen=True, kw_only=True)
class ExecuteOptions:
    """The command line of `execute`. Times are seconds."""

    run_file: Path
    start_at: str | None
    stop_after: str | None
    node_rank: int
    rendezvous: str | None
    rendezvous_timeout: float
    run_uid: str | None
    namespace: str | None
    attempt: int
    grace_period: float
    workdir: Path


def execute_part(options: ExecuteOptions, termination: Termination, stop: StopSignal) -> None:
    """Run a part of a chain, or take part in its training.

    Raises:
        AsrtuneError: as the RunSpec and the stages say.
    """
    workdir = options.workdir.absolute()
    settle(workdir)
    start_last_words(stop, options.grace_period, termination.fail)
    whole = parse_runspec(_read(options.run_file))
    run = part_of(whole, options.start_at, options.stop_after)
    _check_gang(run, options)
    first = first_stage(run)
    me = _identity(options, run, first)
    console = Console()
    with _peers(options, whole, stop) or nullcontext() as peers:
        walk = Walk(
            whole=whole,
            run=run,
            workdir=workdir,
            me=me,
            node=Node(options.node_rank, peers, options.grace_period),
            log_name=f"log-{first}-{options.attempt}.jsonl",
        )
        if options.node_rank:
            follow(walk, termination, stop, console)
        else:
            lead(walk, termination, stop, console)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecInvalidError(
            f"the RunSpec cannot be read: {error.strerror}.",
            where=str(path),
            remedy="Give the file that asrtune explain --json prints.",
            reason="RunSpecInvalid",
        ) from error


def _identity(options: ExecuteOptions, run: RunSpec, first: str) -> Attempt | None:
    if options.run_uid is None:
        return None
    name = f"{options.namespace}/{run.name}" if options.namespace else run.name
    return Attempt(run=name, uid=options.run_uid, stage=first, number=options.attempt)


def _check_gang(run: RunSpec, options: ExecuteOptions) -> None:
    """Several nodes train together, once a process; nobody needs the others for anything else.

    Raises:
        SpecInvalidError: if the command asks for something else.
    """
    names = [stage.name for stage in run.stages]
    part = run.stages[names.index(first_stage(run)) : names.index(last_stage(run)) + 1]
    trainings = [stage for stage in part if stage.type is StageType.TRAIN]
    if options.node_rank and (len(part) != 1 or not trainings):
        raise SpecInvalidError(
            f"node {options.node_rank} has nothing to do in the stages from {part[0].name} to {part[-1].name}.",
            where="--node-rank",
            remedy="Set --start-at and --stop-after to one Train stage: only trainings run on several nodes.",
            reason="StageOrder",
        )
    if run.gang.nodes > 1 and len(trainings) > 1:
        raise SpecInvalidError(
            "a gang of several nodes trains once a process, and here are several Train stages.",
            where="--start-at, --stop-after",
            remedy="Give each Train stage processes of its own.",
            reason="StageOrder",
        )


def _peers(options: ExecuteOptions, run: RunSpec, stop: StopSignal) -> Peers | None:
    """The other nodes; None where there are none, or none is needed."""
    nodes, rank = run.gang.nodes, options.node_rank
    if rank >= nodes:
        raise SpecInvalidError(
            f"there is no node {rank}: the gang has {nodes}.", where="--node-rank", reason="StageOrder"
        )
    if options.rendezvous is None or nodes == 1:
        return None
    host, _, port = options.rendezvous.rpartition(":")
    if not host or not port.isdecimal():
        raise SpecInvalidError(
            f"{options.rendezvous!r} is no HOST:PORT.", where="--rendezvous", reason="RendezvousMissing"
        )
    identity = f"{options.run_uid} {options.attempt} {run.model_dump_json()}"
    gang = hashlib.sha256(identity.encode()).hexdigest()
    patience = options.rendezvous_timeout
    if rank == 0:
        return Leader(int(port), nodes=nodes, gang=gang, stop=stop, patience=patience)
    return Follower(
        host.strip("[]"), int(port), rank=rank, nodes=nodes, gang=gang, stop=stop, patience=patience
    )
