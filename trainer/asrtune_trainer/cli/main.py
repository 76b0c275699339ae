"""`asrtune`: the commands, and nothing of their work."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from asrtune_trainer.cli.explain import explain_run
from asrtune_trainer.cli.failing import guarded
from asrtune_trainer.cli.run import RunOptions, run_chain

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fine-tune FunASR speech models: one file, one command.",
    epilog="Exit codes: 0 done, 65 data wrong, 69 storage unreachable, 70 our fault, 71 out of memory, "
    "75 saved and interrupted, 76 diverged, 78 spec wrong.",
)

Manifest = Annotated[Path, typer.Argument(metavar="FINETUNE.YAML", help="An ASRFinetune manifest.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change a field of the spec, such as train.learningRate=1e-4 (a stage's) or output.uri=out. "
        "Paths start at the manifest's directory. Repeatable.",
    ),
]
StartAt = Annotated[
    str | None, typer.Option(metavar="STAGE", help="First stage to run; earlier ones must be finished.")
]
StopAfter = Annotated[str | None, typer.Option(metavar="STAGE", help="Last stage to run.")]
Workdir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Local copies and caches. Default: $XDG_CACHE_HOME/asrtune, or ~/.cache/asrtune."
    ),
]
TerminationLog = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the end of the run there as one JSON object (for Kubernetes)."),
]


Port = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        min=0,
        max=65535,
        help="Serve /metrics and /progress on 127.0.0.1; 0 takes a free port.",
    ),
]
PushGateway = Annotated[
    str | None, typer.Option(metavar="URL", help="Push metrics to this Prometheus Pushgateway.")
]


@app.callback(invoke_without_command=True)
def root(
    *, show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if show_version:
        typer.echo(f"asrtune {version('asrtune')}")
        raise typer.Exit


@app.command()
def run(
    manifest: Manifest,
    start_at: StartAt = None,
    stop_after: StopAfter = None,
    sets: Sets = None,
    workdir: Workdir = None,
    termination_log: TerminationLog = None,
    port: Port = None,
    push_gateway: PushGateway = None,
) -> None:
    """Run the chain of a manifest: what is finished and unchanged is skipped, what was interrupted goes on."""
    options = RunOptions(manifest, tuple(sets or ()), start_at, stop_after, workdir, port, push_gateway)
    with guarded(termination_log) as termination:
        run_chain(options, termination)


@app.command()
def explain(
    manifest: Manifest,
    sets: Sets = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the RunSpec that a pod would get.")] = False,
) -> None:
    """Print the resolved RunSpec, and why each value is what it is."""
    with guarded(None):
        explain_run(manifest, tuple(sets or ()), as_json=as_json)


def main() -> None:
    """Entry point of the console script."""
    app()
