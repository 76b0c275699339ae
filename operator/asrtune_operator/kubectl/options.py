"""Arguments and options that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

RunName = Annotated[str, typer.Argument(metavar="NAME", help="An ASRFinetune, or evaluation/NAME.")]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAMESPACE", help="Default: the one of the kubeconfig's context."
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Default: the kubeconfig's current context.")
]
Kubeconfig = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="Default: $KUBECONFIG, else ~/.kube/config, else the pod's ServiceAccount.",
    ),
]


class Output(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


As = Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")]


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster and namespace; what is None the kubeconfig decides."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
