"""`kubectl asrtune render`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.text import Text

from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.kubectl.consoles import remarks
from asrtune_operator.kubectl.failing import PluginError, guarded
from asrtune_operator.kubectl.first_attempts import NotYetError, Rendered, first_attempts
from asrtune_operator.kubectl.manifests_on_disk import NO_UID, read_files, with_backend
from asrtune_operator.kubectl.tables import table
from asrtune_operator.settings import Settings
from asrtune_operator.values.kinds import Manifest


class Format(StrEnum):
    """How objects are printed."""

    YAML = "yaml"
    JSON = "json"


BackendName = StrEnum("BackendName", {one.name: one.value for one in BACKENDS})  # type: ignore[misc]
"""What --backend may be: all but Auto."""


def render(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="YAML with an ASRFinetune or ASREvaluation, and what they name."),
    ],
    *,
    runtime: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="YAML with the runtime (or finetunes) that the run names. Repeatable."
        ),
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="Only what runs this stage.")] = None,
    backend: Annotated[BackendName | None, typer.Option(help="As if execution.backend were this.")] = None,
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="The operator's --image, for runtimes that name none.")
    ] = Settings().image,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Of objects that name none.")
    ] = "default",
    output: Annotated[Format, typer.Option("--output", "-o", help="How to print the objects.")] = Format.YAML,
) -> None:
    """Print the objects that the operator would create for each stage's first attempt; asks no cluster.

    Why there are so many pods, with so many GPUs, made by that backend, goes to standard error. What each value of the
    run itself comes to, and why, `asrtune explain FILE` says.
    """
    with guarded():
        asked, others = read_files([file], namespace), read_files(runtime or [], namespace)
        if not asked.runs:
            remedy = "Name a file with an ASRFinetune or ASREvaluation."
            raise PluginError("holds no run.", where=str(file), remedy=remedy)
        manifests: list[Manifest] = []
        for one in asked.runs:
            changed = one if backend is None or one.identity.evaluation else with_backend(one, backend)
            try:
                rendered = first_attempts(changed, asked.with_others(others), image=image, stage=stage)
            except NotYetError as wait:
                if one is asked.runs[-1] and not manifests:
                    raise
                remarks().print(f"{wait} It is not rendered.", markup=False)
                continue
            _explain(rendered)
            manifests += rendered.manifests()
    _print(manifests, output)


def _explain(rendered: Rendered) -> None:
    run, console = rendered.run, remarks()
    runtime = rendered.runtime
    platform = f"{runtime.kind} {runtime.name}" if runtime is not None else "no runtime"
    queue = f", queue {run.queue}: made suspended, until Kueue admits it" if run.queue else ""
    title = f"{run.identity.kind} {run.identity.namespace}/{run.identity.name}"
    console.print(Text(f"{title}: {platform}, image {run.image}{queue}. {NO_UID} stands for its uid."))
    made = table("STAGES", "PODS", "GPUS EACH", "BY", "WHY", right=("PODS", "GPUS EACH"))
    for one in rendered.attempts:
        unit = one.unit
        made.add_row(", ".join(unit.stages), str(unit.nodes), str(unit.gpus), one.backend, one.why)
    console.print(made)


def _print(manifests: Sequence[Manifest], output: Format) -> None:
    if output is Format.JSON:
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        typer.echo(yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True, width=120), nl=False)
