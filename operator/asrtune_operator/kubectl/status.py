"""`kubectl asrtune status`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import RenderableType
from rich.live import Live

from asrtune_operator.kubectl.asking import ask
from asrtune_operator.kubectl.consoles import answers
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.options import As, Context, Kubeconfig, Namespace, Output, Where
from asrtune_operator.kubectl.overview import overview
from asrtune_operator.kubectl.runs import RunView, ref_of
from asrtune_operator.kubectl.screen import screen
from asrtune_operator.values.kinds import EVALUATIONS, FINETUNES

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster

_PERIOD_SECONDS: Final = 2.0


def status(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="An ASRFinetune, or evaluation/NAME; none: all of the namespace."
        ),
    ] = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Refresh every two seconds, until the run has ended.")
    ] = False,
    output: As = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show how far a run is, why it waits, how good it is so far, and what it has cost.

    Without NAME: a table of all runs in the namespace.
    """

    async def work(cluster: Cluster) -> None:
        if output is Output.JSON:
            _print_json(await _look(cluster, name), one=name is not None)
        elif watch:
            await _watch(cluster, name)
        else:
            answers().print(_shown(cluster, name, await _look(cluster, name)))

    ask(Where(kubeconfig, context, namespace), work)


async def _look(cluster: Cluster, name: str | None) -> list[RunView]:
    if name is not None:
        return [await cluster.run(ref_of(name))]
    views = [view for kind in (FINETUNES, EVALUATIONS) for view in await cluster.runs(kind)]
    if not views and not await cluster.is_there():
        raise PluginError(
            f"there is no namespace {cluster.namespace}.", remedy="Name the one of your runs: -n NAMESPACE."
        )
    return views


def _shown(cluster: Cluster, name: str | None, views: list[RunView]) -> RenderableType:
    now = datetime.now(UTC)
    if name is not None:
        return screen(views[0], now)
    return overview(views, now) if views else f"There are no runs in namespace {cluster.namespace}."


async def _watch(cluster: Cluster, name: str | None) -> None:
    """Until the run has ended; of all runs, until Ctrl-C."""
    console = answers()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            views = await _look(cluster, name)
            live.update(_shown(cluster, name, views), refresh=console.is_terminal)
            if name is not None and views[0].ended:
                return
            await asyncio.sleep(_PERIOD_SECONDS)


def _print_json(views: list[RunView], *, one: bool) -> None:
    found = [view.raw for view in views]
    document: Any = found[0] if one else {"apiVersion": "v1", "kind": "List", "items": found}
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
