"""`kubectl asrtune wait`."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asrtune_api.status import ConditionStatus, ConditionType, Phase
from asrtune_operator.kubectl.asking import ask
from asrtune_operator.kubectl.failing import PluginError, guarded
from asrtune_operator.kubectl.following import until
from asrtune_operator.kubectl.options import Context, Kubeconfig, Namespace, RunName, Where
from asrtune_operator.kubectl.runs import RunView, ref_of
from asrtune_operator.kubectl.summary import summary

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster


class Ending(IntEnum):
    """Exit code of `kubectl asrtune wait`; 3 is what could not be done, as everywhere."""

    PASSED = 0
    NOT_PASSED = 1
    FAILED = 2
    TIMED_OUT = 4


def wait(
    name: RunName,
    *,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Give up after so long. Default: never.")
    ] = None,
    summary_file: Annotated[
        Path | None,
        typer.Option(
            "--summary",
            metavar="FILE",
            help="Append what came of it to this file, as Markdown; such as $GITHUB_STEP_SUMMARY.",
        ),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Wait for the end of a run, and tell it by the exit code. For scripts and CI.

    Exit codes: 0 it is done, and its quality gate has passed if it has one; 1 the gate has not passed; 2 the run has
    failed; 3 that could not be found out; 4 the time is over, and the run goes on.
    """

    async def work(cluster: Cluster) -> tuple[RunView, Ending]:
        view = await cluster.run(ref_of(name))
        try:
            async with asyncio.timeout(timeout):
                view = await until(cluster, view, lambda one: one.ended)
        except TimeoutError:
            return await cluster.run(view.ref), Ending.TIMED_OUT
        return view, _ending(view)

    view, ending = ask(Where(kubeconfig, context, namespace), work)
    text = summary(view)
    if summary_file is not None:
        with guarded():
            _append(summary_file, text)
    typer.echo(text.rstrip())
    if ending is Ending.TIMED_OUT:
        typer.echo(f"{view.title} has not ended within {timeout:g} s; it goes on.", err=True)
    raise typer.Exit(ending)


def _ending(view: RunView) -> Ending:
    if view.status.phase is Phase.FAILED:
        return Ending.FAILED
    gate = view.condition(ConditionType.QUALITY_GATE_PASSED)
    return Ending.PASSED if gate is None or gate.status is ConditionStatus.TRUE else Ending.NOT_PASSED


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise PluginError(f"the summary cannot be written: {error.strerror}.", where=str(file)) from None
