"""`kubectl asrtune logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from asrtune_operator.follow.observe import pod_view
from asrtune_operator.kubectl.asking import ask
from asrtune_operator.kubectl.consoles import remarks
from asrtune_operator.kubectl.interleave import interleave
from asrtune_operator.kubectl.options import Context, Kubeconfig, Namespace, RunName, Where
from asrtune_operator.kubectl.runs import ref_of
from asrtune_operator.kubectl.which_logs import Chosen, choose
from asrtune_operator.values.names import RUN_UID

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster

_HOLD_SECONDS: Final = 1.0
"""How long a line waits for an earlier one of another rank while logs are followed."""
_COLOURS: Final = (
    "cyan",
    "magenta",
    "yellow",
    "green",
    "blue",
    "bright_cyan",
    "bright_magenta",
    "bright_yellow",
)


def logs(
    name: RunName,
    *,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Default: the one that runs, or ran last.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Default: the last one of the stage.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Wait for the pods' start, and for more until they have ended."),
    ] = False,
    tail: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Only the last N lines of each rank. Default: all.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print what the pods of a stage print, all ranks by time, each line with the rank of its pod.

    Pods that have ended keep their logs as long as they are there: those of a stage's last two attempts, until the run
    is deleted or runPolicy.ttlSecondsAfterFinished is over. What was printed is not kept elsewhere, but the event log
    is: in the run's output.
    """

    async def work(cluster: Cluster) -> None:
        view = await cluster.run(ref_of(name))
        pods = [pod_view(pod) for pod in await cluster.pods(f"{RUN_UID}={view.run.uid}")]
        chosen = choose(view, pods, stage, attempt)
        _remark(f"{view.title}: {chosen.stage}, attempt {chosen.attempt}")
        await _print(cluster, chosen, follow=follow, tail=tail)

    ask(Where(kubeconfig, context, namespace), work)


async def _print(cluster: Cluster, chosen: Chosen, *, follow: bool, tail: int | None) -> None:
    from asrtune_operator.kubectl.pod_log import PodLog  # noqa: PLC0415 (as in asking.py)

    ranks = {pod.rank if pod.rank is not None else number: pod for number, pod in enumerate(chosen.pods)}
    width = len(str(max(ranks)))
    sources = {rank: PodLog(cluster, pod, follow, tail, _remark).lines() for rank, pod in ranks.items()}
    async for rank, line in interleave(sources, hold=_HOLD_SECONDS if follow else None):
        prefix = typer.style(f"rank {rank:>{width}} |", fg=_COLOURS[rank % len(_COLOURS)])
        typer.echo(f"{prefix} {line.text}")


def _remark(text: str) -> None:
    remarks().print(Text(text, "dim"))
