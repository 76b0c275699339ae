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
from asrtune_trainer.cli.walking import Walk, lead, part_of
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
    return summarise(console, lead(Walk(whole=run, run=run, workdir=workdir), termination, stop, console))


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


def summarise(console: Console, chain: Chain) -> bool:
    """Say what was left alone, the error rates, and where report and model are; False: the gate is not passed."""
    if not chain.repeated:
        console.print("Nothing to do: every stage is finished and its inputs are unchanged.")
    verdict = print_outcome(console, chain.run, chain.manifests, report=_place(chain, "report"))
    if (model := _place(chain, "model")) is not None:
        console.print(f"model: {model}", soft_wrap=True, highlight=False)
    return verdict is None or verdict.passed is not False


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
