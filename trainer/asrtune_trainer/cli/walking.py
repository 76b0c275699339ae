"""One process's way through a chain, or a part of it: what `run` and `execute` share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from asrtune_api.errors import AsrtuneError, ExitCode, SpecInvalidError
from asrtune_api.runspec import RunSpec
from asrtune_api.suggest import did_you_mean
from asrtune_api.termination import Result
from asrtune_trainer.cli.failing import Termination
from asrtune_trainer.stages.base import Node
from asrtune_trainer.stages.chain import Chain
from asrtune_trainer.stages.fence import Attempt
from asrtune_trainer.stages.ledger import ledger
from asrtune_trainer.stages.results import result_entries
from asrtune_trainer.stages.stop import StopSignal, stop_on_signals
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.storage.run import stores_of
from asrtune_trainer.telemetry.events import Silent
from asrtune_trainer.telemetry.hub import Hub
from asrtune_trainer.telemetry.jsonl import LOG_NAME
from asrtune_trainer.telemetry.open import open_telemetry

LOCK_PATIENCE_SECONDS = 120.0
"""For an earlier attempt's lock on a shared disk: NFS keeps a dead machine's for 90 s."""
_FOR_GOOD = frozenset(
    {ExitCode.DATA_INVALID, ExitCode.OUT_OF_MEMORY, ExitCode.DIVERGED, ExitCode.SPEC_INVALID}
)
"""Ends after which nobody tries again: others may have the output."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What a process is to do.

    Attributes:
        whole: the run.
        run: the run, cut to this process's part.
        workdir: local copies and caches.
        me: the attempt that the process is; None on a laptop, where nobody counts.
        node: its place in the gang.
        log_name: of its event log.
    """

    whole: RunSpec
    run: RunSpec
    workdir: Path
    me: Attempt | None = None
    node: Node = field(default_factory=Node)
    log_name: str = LOG_NAME

    @property
    def ends(self) -> bool:
        """Whether the part ends with the run."""
        return last_stage(self.run) == last_stage(self.whole)


def part_of(run: RunSpec, start_at: str | None, stop_after: str | None) -> RunSpec:
    """The run with another first and last stage, where they are named.

    Raises:
        SpecInvalidError: if there is no such stage, or the first comes after the last.
    """
    names = [stage.name for stage in run.stages]
    for option, name in (("--start-at", start_at), ("--stop-after", stop_after)):
        if name is not None and name not in names:
            raise SpecInvalidError(
                f'there is no stage "{name}".', where=option, remedy=did_you_mean(name, names, what="stages")
            )
    start, stop = start_at or run.start_at, stop_after or run.stop_after
    if start and stop and names.index(start) > names.index(stop):
        raise SpecInvalidError(
            f"nothing would run: {start} comes after {stop}.",
            where="--start-at",
            remedy=f"The chain is {', '.join(names)}.",
        )
    return run.model_copy(update={"start_at": start, "stop_after": stop})


def first_stage(run: RunSpec) -> str:
    """Name of the first stage that is run."""
    return run.start_at or run.stages[0].name


def last_stage(run: RunSpec) -> str:
    """Name of the last stage that is run."""
    return run.stop_after or run.stages[-1].name


def lead(walk: Walk, termination: Termination, stop: StopSignal, console: Console) -> Chain:
    """Walk the chain as the process that writes to the output.

    Raises:
        AsrtuneError: as the spec and the stages say.
    """
    workspace = Workspace.open(walk.run.output, walk.workdir, stores_of(walk.run.storage), me=walk.me)
    patience = LOCK_PATIENCE_SECONDS if walk.me is not None else 0.0
    with stop_on_signals(stop), workspace.locked(stop, patience=patience):
        chain = Chain(walk.run, workspace, walk.workdir / "cache", Silent(), stop, walk.node)
        termination.results = lambda: _results(walk, chain, ended=False)
        entered = False
        try:
            with _telemetry(walk, workspace, console) as telemetry:
                telemetry.add(termination)
                chain.telemetry = telemetry
                _enter(walk, chain)
                entered = True
                chain.walk()
        except AsrtuneError as error:
            if error.exit_code in _FOR_GOOD:
                workspace.fence.release()
            raise
        finally:
            termination.stage = chain.current
            if entered:  # else the output is another's, or out of reach, as the error says
                _keep_logs(workspace, walk.log_name, termination)
        if walk.ends:
            workspace.write("ledger.json", ledger(walk.whole, chain.manifests))
            workspace.fence.release()
    termination.results = lambda: _results(walk, chain, ended=walk.ends)
    return chain


def follow(walk: Walk, termination: Termination, stop: StopSignal, console: Console) -> None:
    """Walk the chain as another node of a gang than the first: it takes part in the training, and writes nothing.

    Raises:
        AsrtuneError: why this node could not, or how the gang ended.
    """
    stores = stores_of(walk.run.storage)
    workspace = Workspace.open(walk.run.output, walk.workdir, stores, me=walk.me, node=walk.node.rank)
    with (
        stop_on_signals(stop),
        open_telemetry(walk.run, workspace.root, leads=False, console=console) as telemetry,
    ):
        telemetry.add(termination)
        chain = Chain(walk.run, workspace, walk.workdir / "cache", telemetry, stop, walk.node)
        try:
            chain.follow()
        finally:
            termination.stage = chain.current


def _telemetry(walk: Walk, workspace: Workspace, console: Console) -> Hub:
    return open_telemetry(
        walk.run,
        workspace.root,
        attempt=walk.me.number if walk.me else 0,
        log_name=walk.log_name,
        fixed_port=walk.me is not None,
        console=console,
    )


def _enter(walk: Walk, chain: Chain) -> None:
    chain.workspace.fence.enter()
    chain.workspace.write("run.json", walk.whole.model_dump_json(indent=1).encode())


def _results(walk: Walk, chain: Chain, *, ended: bool) -> dict[str, Result]:
    names = [stage.name for stage in walk.run.stages]
    return result_entries(
        walk.run,
        dict(chain.manifests),
        ran=chain.repeated,
        taken=names[: names.index(first_stage(walk.run))],
        ended=ended,
    )


def _keep_logs(workspace: Workspace, log_name: str, termination: Termination) -> None:
    """Logs go to a remote output too; that they cannot is no reason to fail, or to hide why the run failed."""
    try:
        workspace.keep(log_name, "tensorboard")
    except AsrtuneError as error:
        termination.remark = f"The logs stay in {workspace.root}: {error.message}"
