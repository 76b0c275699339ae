"""`kubectl asrtune resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from asrtune_api.status import Phase
from asrtune_operator.kubectl.asking import ask
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.following import until
from asrtune_operator.kubectl.options import Context, Kubeconfig, Namespace, RunName, Where
from asrtune_operator.kubectl.runs import RunView, ref_of

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster

_WHY: Final = "`kubectl asrtune why {name}` says why it does not run."
_REMEDIES: Final = {
    Phase.FAILED: "It has failed: `kubectl asrtune retry {name}` starts it again.",
    Phase.SUCCEEDED: "It is done.",
    Phase.RUNNING: "It runs.",
}


def resume(
    name: RunName,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return when its pods run again.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a suspended run go on from its last checkpoint."""

    async def work(cluster: Cluster) -> None:
        view = await cluster.run(ref_of(name))
        if not view.run.spec.get("suspend"):
            raise _refusal(view)
        view = await cluster.change(view.ref, {"spec": {"suspend": False}})
        typer.echo(f"{view.title} is to go on.")
        if wait:
            view = await until(cluster, view, _reached)
            typer.echo(f"{view.title}: {view.status.phase}, stage {view.status.stage}.")

    ask(Where(kubeconfig, context, namespace), work)


def _refusal(view: RunView) -> PluginError:
    phase = view.status.phase
    remedy = _REMEDIES.get(phase, _WHY) if phase is not None else _WHY
    return PluginError("it is not suspended.", where=view.title, remedy=remedy.format(name=view.named))


def _reached(view: RunView) -> bool:
    return view.ended or (view.status.phase is Phase.RUNNING and not view.behind)
