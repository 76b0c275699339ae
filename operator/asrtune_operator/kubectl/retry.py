"""`kubectl asrtune retry`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

from asrtune_api.status import ConditionType, Phase
from asrtune_operator.decide.verdict import Fault, Verdict
from asrtune_operator.kubectl.asking import ask
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.options import Context, Kubeconfig, Namespace, RunName, Where
from asrtune_operator.kubectl.runs import RunView, ref_of
from asrtune_operator.values.names import RETRY
from asrtune_operator.values.observed import WaitReason

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster

_WHY: Final = "`kubectl asrtune why {name}` says what it waits for."
_REMEDIES: Final = {
    Phase.SUSPENDED: "`kubectl asrtune resume {name}` lets it go on.",
    Phase.SUCCEEDED: "To run it again, create another one with another output.",
    Phase.RUNNING: "It runs; `kubectl asrtune status {name}` shows how far it is.",
}


def retry(
    name: RunName, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None
) -> None:
    """Start a failed run again, or the next try of one that backs off: what is done stays done, tries count anew.

    Correct first what made it fail, in the data or the cluster. A change of the manifest starts it again by itself.
    """

    async def work(cluster: Cluster) -> None:
        view = await cluster.run(ref_of(name))
        failed = view.holds(ConditionType.FAILED)
        if failed is None and not _backs_off(view):
            raise _refusal(view)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await cluster.change(view.ref, {"metadata": {"annotations": {RETRY: stamp}}})
        typer.echo(f"{view.title} is started again.")
        if (
            failed is not None
            and failed.reason in set(Verdict)
            and Verdict(failed.reason).fault is Fault.USER
        ):
            typer.echo(
                f"It failed of {failed.reason}, and will do so again unless that was corrected: {failed.message}"
            )

    ask(Where(kubeconfig, context, namespace), work)


def _backs_off(view: RunView) -> bool:
    running = view.condition(ConditionType.RUNNING)
    return running is not None and running.reason == WaitReason.BACKING_OFF


def _refusal(view: RunView) -> PluginError:
    phase = view.status.phase
    remedy = _REMEDIES.get(phase, _WHY) if phase is not None else _WHY
    return PluginError(
        f"it has not failed ({phase or 'New'}), so there is nothing to retry.",
        where=view.title,
        remedy=remedy.format(name=view.named),
    )
