"""`kubectl asrtune why`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer
from rich.padding import Padding
from rich.text import Text

from asrtune_operator.kubectl.asking import ask
from asrtune_operator.kubectl.consoles import answers
from asrtune_operator.kubectl.options import As, Context, Kubeconfig, Namespace, Output, RunName, Where
from asrtune_operator.kubectl.reasons import Answer, Why, why_of
from asrtune_operator.kubectl.runs import RunView, ref_of
from asrtune_operator.values.names import ATTEMPT, RUN_UID, STAGE

if TYPE_CHECKING:
    from asrtune_operator.kubectl.cluster import Cluster

_PODS: Final = 3
"""Pods that wait whose events are asked for: those of a gang wait for the same."""
_STYLES: Final = {Answer.FINE: "green", Answer.WAITS: "yellow", Answer.FAILED: "bold red"}


def why(
    name: RunName,
    *,
    output: As = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say why a run does not run, or why it failed, and what to do about it.

    Exit codes: 0 it runs or is done, 1 it waits (or is suspended), 2 it has failed, 3 that could not be found out.
    """

    async def work(cluster: Cluster) -> Why:
        view = await cluster.run(ref_of(name))
        pods = await cluster.if_allowed(cluster.pods(_labels(view)))
        waiting = [pod["metadata"]["uid"] for pod in pods if pod.get("status", {}).get("phase") == "Pending"]
        events = [
            event
            for uid in (view.run.uid, *waiting[:_PODS])
            for event in await cluster.if_allowed(cluster.events(uid))
        ]
        return why_of(view, pods, events, datetime.now(UTC))

    said = ask(Where(kubeconfig, context, namespace), work)
    if output is Output.JSON:
        typer.echo(json.dumps(said.document(), indent=2, ensure_ascii=False))
    else:
        _show(said)
    raise typer.Exit(said.answer)


def _labels(view: RunView) -> str:
    """Of the pods of the newest attempt."""
    newest = view.newest
    attempt = f",{STAGE}={newest.stage},{ATTEMPT}={newest.attempt}" if newest is not None else ""
    return f"{RUN_UID}={view.run.uid}{attempt}"


def _show(said: Why) -> None:
    console = answers()
    reason = f" {said.reason}:" if said.reason else ""
    text = f"{reason} {said.text}" if said.text else ""
    console.print(Text.assemble((f"{said.word}.", _STYLES[said.answer]), text))
    for title, lines in (("Its pods", said.pods), ("Last events", said.events)):
        if lines:
            console.print(Text(title, "bold"))
            for line in lines:
                console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))
