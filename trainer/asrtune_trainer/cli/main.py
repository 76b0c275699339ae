"""`asrtune`: the commands, and nothing of their work."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from asrtune_trainer.cli.execute import ExecuteOptions, execute_part
from asrtune_trainer.cli.explain import explain_run
from asrtune_trainer.cli.failing import guarded
from asrtune_trainer.cli.run import GATE_NOT_PASSED, RunOptions, default_workdir, run_chain

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fine-tune FunASR speech models: one file, one command.",
    epilog="Exit codes: 0 done, 1 done but the quality gate is not passed (run), 2 wrong options, 65 data wrong, "
    "69 storage unreachable, 70 our fault, 71 out of memory, 75 saved and interrupted, 76 diverged, 78 spec wrong.",
)

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST.YAML", help="An ASRFinetune or ASREvaluation.")]
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

RunFile = Annotated[Path, typer.Argument(metavar="RUN.JSON", help="A RunSpec: what explain --json prints.")]
NodeRank = Annotated[int, typer.Option(metavar="N", min=0, help="This node's place in the gang, from 0.")]
Rendezvous = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where node 0 of a gang of several nodes is called.")
]
RendezvousTimeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="How long the nodes have to come together.")
]
RunUid = Annotated[
    str | None,
    typer.Option(metavar="UID", help="Of the run's object: guards the output against other writers."),
]
Namespace = Annotated[str | None, typer.Option(metavar="NAME", help="Of the run's object.")]
AttemptNumber = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Counts up with each start of this part: the highest may write."),
]
GracePeriod = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="Time to save a checkpoint when asked to stop.")
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
    context: typer.Context,
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
        passed = run_chain(options, termination, context.obj)
    if not passed:
        raise typer.Exit(GATE_NOT_PASSED)


@app.command()
def execute(
    context: typer.Context,
    run_file: RunFile,
    start_at: StartAt = None,
    stop_after: StopAfter = None,
    node_rank: NodeRank = 0,
    rendezvous: Rendezvous = None,
    rendezvous_timeout: RendezvousTimeout = 900,
    run_uid: RunUid = None,
    namespace: Namespace = None,
    attempt: AttemptNumber = 1,
    grace_period: GracePeriod = 300,
    workdir: Workdir = None,
    termination_log: TerminationLog = None,
) -> None:
    """Run a part of a resolved run, as a pod does; with several nodes, this node's share of its training."""
    with guarded(termination_log) as termination:
        options = ExecuteOptions(
            run_file=run_file,
            start_at=start_at,
            stop_after=stop_after,
            node_rank=node_rank,
            rendezvous=rendezvous,
            rendezvous_timeout=rendezvous_timeout,
            run_uid=run_uid,
            namespace=namespace,
            attempt=attempt,
            grace_period=grace_period,
            workdir=workdir or default_workdir(),
        )
        execute_part(options, termination, context.obj)


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
