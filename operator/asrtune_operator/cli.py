"""`asrtune-operator`: its options are the fields of `Settings`, with their descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from asrtune_operator.main import main as run_operator
from asrtune_operator.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def operator() -> None:
    """Fine-tunes FunASR models on Kubernetes."""


@app.command("version")
def show_version() -> None:
    """Print the version."""
    typer.echo(version("asrtune"))


def run(**options: Any) -> None:
    """Run the operator until it is told to stop."""
    try:
        settings = Settings.model_validate(options)
    except ValidationError as error:
        problems = "; ".join(
            f"--{str(one['loc'][0]).replace('_', '-')}: {one['msg']}" for one in error.errors()
        )
        raise typer.BadParameter(problems) from None
    raise typer.Exit(run_operator(settings))


def _parameters() -> Iterator[inspect.Parameter]:
    for name, field in Settings.model_fields.items():
        kind, default = field.annotation, field.default
        if name == "namespaces":
            kind, default = list[str], []
        flag = "--namespace" if name == "namespaces" else f"--{name.replace('_', '-')}"
        flags = (f"{flag}/--no-{name}",) if kind is bool else (flag,)
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, typer.Option(*flags, help=_help(field))],
        )


def _help(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


run.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]
app.command("run")(run)


def main() -> None:
    """The console script."""
    app()
