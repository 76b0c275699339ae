"""`asrtune run`: manifest to RunSpec to chain to summary."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asrtune_api.errors import SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.load import load_manifest
from asrtune_api.resolve import resolve
from asrtune_api.resolve_evaluation import resolve_evaluation
from asrtune_api.runspec import RunSpec
from asrtune_trainer.cli.failing import Termination
from asrtune_trainer.cli.outcome import print_outcome
from asrtune_trainer.cli.walking import Walk, first_stage, last_stage, lead, part_of
from asrtune_trainer.stages.chain import Chain
from asrtune_trainer.stages.stop import StopSignal

GATE_NOT_PASSED = 1
"""The exit code of a run that is done, and whose model did not pass: as `kubectl asrtune wait` ends."""


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


def run_chain(options: RunOptions, termination: Termination, stop: StopSignal) -> bool:
    """Run the chain and print what came of it.

    Returns:
        whether the quality gate lets the model pass: also where there is none, or nothing was scored yet.

    Raises:
        AsrtuneError: as the spec and the stages say.
    """
    run = resolve_manifest(options.manifest, options.sets)
    run = _watched(part_of(run, options.start_at, options.stop_after), options)
    workdir = (options.workdir or default_workdir()).absolute()
    console = Console()
    chain = lead(Walk(whole=run, run=run, workdir=workdir), termination, stop, console)
    return summarise(console, chain, by_option=options.stop_after is not None)


def _watched(run: RunSpec, options: RunOptions) -> RunSpec:
    """The run with the command line's telemetry."""
    telemetry = run.telemetry.model_copy(
        update={
            "port": run.telemetry.port if options.port is None else options.port,
            "push_gateway": options.push_gateway or run.telemetry.push_gateway,
        }
    )
    return run.model_copy(update={"telemetry": telemetry})


def default_workdir() -> Path:
    """Where caches go by the XDG base directory specification.

    Raises:
        SpecInvalidError: this user has no home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asrtune"
    except RuntimeError as error:
        raise SpecInvalidError(
            "this user has no home directory for copies and caches.",
            where="--workdir",
            remedy="Name a directory.",
        ) from error


def summarise(console: Console, chain: Chain, *, by_option: bool) -> bool:
    """Say what was left alone, the error rates, and where report and model are; False: the gate is not passed.

    Args:
        console: where to.
        chain: as it was walked.
        by_option: the command line, not the manifest, names the last stage.
    """
    if not chain.repeated:
        console.print(
            _nothing_to_do(chain.run, by_option=by_option), soft_wrap=True, highlight=False, markup=False
        )
    verdict = print_outcome(console, chain.run, chain.manifests, report=_place(chain, "report"))
    if (model := _place(chain, "model")) is not None:
        console.print(f"model: {model}", soft_wrap=True, highlight=False)
    return verdict is None or verdict.passed is not False


def _nothing_to_do(run: RunSpec, *, by_option: bool) -> str:
    names = [stage.name for stage in run.stages]
    first, last = names.index(first_stage(run)), names.index(last_stage(run))
    if (first, last) == (0, len(names) - 1):
        return "Nothing to do: every stage is finished and its inputs are unchanged."
    said = (
        f"{names[first]} is finished and its inputs are unchanged."
        if first == last
        else f"{names[first]} to {names[last]} are finished and their inputs are unchanged."
    )
    if first:
        said += f" What stands before {names[first]} was taken as it is."
    if last < len(names) - 1:
        rest = "the same command without --stop-after" if by_option else "unset stopAfter"
        said += f" The rest of the chain: {rest}."
    return f"Nothing to do: {said}"


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
