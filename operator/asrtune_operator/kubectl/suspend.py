"""`kubectl asrtune suspend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asrtune_api.status import Phase
from asrtune_operator.kubectl.asking import ask
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.following import until
from asrtune_operator.kubectl.options import Context, Kubeconfig, Namespace, RunName, Where
from asrtune_operator.kubectl.runs import RunView, ref_of

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster


def suspend(
    name: RunName,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when the checkpoint is saved and the pods are gone.")
    ] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Stop a run for now: its pods save a checkpoint and end, its GPUs are free. `resume` goes on from there."""

    async def work(cluster: Cluster) -> None:
        view = await cluster.run(ref_of(name))
        if view.ended:
            raise PluginError(f"it has ended ({view.status.phase}): nothing runs.", where=view.title)
        view = await cluster.change(view.ref, {"spec": {"suspend": True}})
        typer.echo(f"{view.title} is to be suspended.")
        if wait:
            _report(await until(cluster, view, _reached))

    ask(Where(kubeconfig, context, namespace), work)


def _reached(view: RunView) -> bool:
    return view.ended or (view.status.phase is Phase.SUSPENDED and not view.behind)


def _report(view: RunView) -> None:
    if view.ended:
        typer.echo(f"{view.title} has ended meanwhile: {view.status.phase}.")
        return
    progress = view.status.progress
    step = progress.checkpoint_step if progress is not None else None
    saved = f"The last checkpoint is of step {step:,}." if step is not None else "There is no checkpoint yet."
    typer.echo(f"{view.title} is suspended, no pods are left. {saved}")
