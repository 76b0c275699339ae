"""`kubectl-asrtune`: the commands, and nothing of their work."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from asrtune_operator.kubectl.failing import FAILED
from asrtune_operator.kubectl.logs import logs
from asrtune_operator.kubectl.render import render
from asrtune_operator.kubectl.resume import resume
from asrtune_operator.kubectl.retry import retry
from asrtune_operator.kubectl.status import status
from asrtune_operator.kubectl.suspend import suspend
from asrtune_operator.kubectl.wait import wait
from asrtune_operator.kubectl.why import why

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Watch and steer fine-tuning runs and evaluations. NAME is an ASRFinetune; write evaluation/NAME for an "
    "ASREvaluation.",
    epilog=f"Exit codes: 0 done, {FAILED} could not be done (no such run, no right, no answer, a wrong manifest). "
    "`why` and `wait` have codes of their own.",
)
for command in (status, why, logs, wait, suspend, resume, retry, render):
    app.command()(command)


@app.callback(invoke_without_command=True)
def root(
    *, show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if show_version:
        typer.echo(f"kubectl-asrtune {version('asrtune')}")
        raise typer.Exit


def main() -> None:
    """Entry point of the console script."""
    app()
