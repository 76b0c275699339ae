"""`asrtune run`: manifest to RunSpec to chain to summary."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asrtune_api.errors import AsrtuneError, SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.load import load_manifest
from asrtune_api.resolve import resolve
from asrtune_api.resolve_evaluation import resolve_evaluation
from asrtune_api.runspec import RunSpec
from asrtune_api.suggest import did_you_mean
from asrtune_trainer.cli.failing import Termination
from asrtune_trainer.cli.outcome import print_outcome
from asrtune_trainer.stages.chain import Chain
from asrtune_trainer.stages.ledger import ledger
from asrtune_trainer.stages.stop import StopSignal, stop_on_signals
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.storage.run import stores_of
from asrtune_trainer.telemetry.events import Silent
from asrtune_trainer.telemetry.open import open_telemetry


@dataclass(frozen=True)
class RunOptions:
    """The command line of `run`."""

    manifest: Path
    sets: tuple[str, ...]
    start_at: str | None
    stop_after: str | None
    workdir: Path | None
    port: int | None
    push_gateway: str | None


def resolve_manifest(manifest: Path, sets: tuple[str, ...]) -> RunSpec:
    """Read a manifest and decide everything.

    Raises:
        SpecInvalidError: with every problem, by line and field.
    """
    found = load_manifest(manifest, list(sets))
    base = str(manifest.absolute().parent)
    if isinstance(found, ASREvaluation):
        return resolve_evaluation(found, base=base)
    return resolve(found, None, base=base)


def run_chain(options: RunOptions, termination: Termination) -> None:
    """Run the chain and print what came of it.

    Raises:
        AsrtuneError: as the spec and the stages say.
    """
    run = _cut(resolve_manifest(options.manifest, options.sets), options)
    workdir = (options.workdir or default_workdir()).absolute()
    workspace = Workspace.open(run.output, workdir, stores_of(run.storage))
    console = Console()
    with workspace.locked(), stop_on_signals(StopSignal()) as stop:
        workspace.write("run.json", run.model_dump_json(indent=1).encode())
        chain = Chain(run, workspace, workdir / "cache", Silent(), stop)
        try:
            with open_telemetry(run, workspace.root, console=console) as telemetry:
                telemetry.add(termination)
                chain.telemetry = telemetry
                chain.walk()
        finally:
            termination.stage = chain.current
            _keep_logs(workspace, console)
        workspace.write("ledger.json", ledger(run, chain.manifests))
    termination.results = chain.results()
    summarise(console, chain)


def _keep_logs(workspace: Workspace, console: Console) -> None:
    """Logs go to a remote output too; that they cannot is no reason to fail, or to hide why the run failed."""
    try:
        workspace.keep("log.jsonl", "tensorboard")
    except AsrtuneError as error:
        console.print(f"the logs stay in {workspace.root}: {error}", markup=False)


def _cut(run: RunSpec, options: RunOptions) -> RunSpec:
    """The run with the command line's startAt, stopAfter and telemetry.

    Raises:
        SpecInvalidError: if there is no such stage, or the first comes after the last.
    """
    names = [stage.name for stage in run.stages]
    for option, name in (("--start-at", options.start_at), ("--stop-after", options.stop_after)):
        if name is not None and name not in names:
            raise SpecInvalidError(
                f'there is no stage "{name}".', where=option, remedy=did_you_mean(name, names, what="stages")
            )
    start, stop = options.start_at or run.start_at, options.stop_after or run.stop_after
    if start and stop and names.index(start) > names.index(stop):
        raise SpecInvalidError(
            f"nothing would run: {start} comes after {stop}.",
            where="--start-at",
            remedy=f"The chain is {', '.join(names)}.",
        )
    telemetry = run.telemetry.model_copy(
        update={
            "port": run.telemetry.port if options.port is None else options.port,
            "push_gateway": options.push_gateway or run.telemetry.push_gateway,
        }
    )
    return run.model_copy(update={"start_at": start, "stop_after": stop, "telemetry": telemetry})


def default_workdir() -> Path:
    """Where caches go by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asrtune"


def summarise(console: Console, chain: Chain) -> None:
    """What was left alone, the table of CERs, and where the report and the model are."""
    if not chain.repeated:
        console.print("Nothing to do: every stage is finished and its inputs are unchanged.")
    print_outcome(console, chain.run, chain.manifests, report=_place(chain, "report"))
    if (model := _place(chain, "model")) is not None:
        console.print(f"model: {model}", soft_wrap=True, highlight=False)


def _place(chain: Chain, what: str) -> str | None:
    """Where Publish put it; before that, where its stage left it."""
    published = [one.details["published"] for one in chain.manifests.values() if "published" in one.details]
    place: str | None = published[-1].get(what) if published else None
    if place is not None:
        return f"{place}/index.html" if what == "report" else place
    made = chain.last("report" if what == "report" else "directory")
    return (
        str(
            made.finished(chain.workspace.directory(made.stage)).path(
                "report" if what == "report" else "directory"
            )
        )
        if made
        else None
    )
