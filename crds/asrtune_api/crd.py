"""Write the CustomResourceDefinitions under crds/ from the API models: `python -m asrtune_api.crd [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from asrtune_api import GROUP, VERSION
from asrtune_api.base import ApiModel
from asrtune_api.crd_schema import Schema, object_schema
from asrtune_api.evaluation import ASREvaluation, EvaluationStatus
from asrtune_api.finetune import ASRFinetune
from asrtune_api.runtime import ASRRuntime, ClusterASRRuntime
from asrtune_api.status import FinetuneStatus

DIRECTORY = Path(__file__).resolve().parents[1]
HEADER = "# Written by `make generate` from crds/asrtune_api. Change the models, not this file.\n"
AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object, as the API server has to know it.

    Attributes:
        model: the model; its class name is the kind's name.
        plural: the plural in URLs.
        short: short names for kubectl.
        columns: what `kubectl get` prints: header, type, JSON path, and priority (1: only with -o wide).
        scope: Namespaced or Cluster.
        status: the model of its status, which only the operator writes.
    """

    model: type[ApiModel]
    plural: str
    short: Sequence[str]
    columns: Sequence[tuple[str, str, str, int]]
    scope: str = "Namespaced"
    status: type[ApiModel] | None = None
    categories: Sequence[str] = field(default=("asrtune",))

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{GROUP}_{self.plural}.yaml"


RUNTIME_COLUMNS = (
    ("Image", "string", ".spec.image", 0),
    ("Backend", "string", ".spec.backend", 0),
    ("Endpoint", "string", ".spec.storage.endpoint", 1),
)
FAILED_OF = ("Failed of", "string", '.status.conditions[?(@.type=="Failed")].reason', 0)
WAITS_FOR = ("Pods", "string", '.status.conditions[?(@.type=="Running")].reason', 1)
KINDS = (
    Kind(
        ASRFinetune,
        "asrfinetunes",
        ("asrft",),
        (
            ("Phase", "string", ".status.phase", 0),
            ("Stage", "string", ".status.stage", 0),
            ("Percent", "integer", ".status.progress.percent", 0),
            ("CER", "string", ".status.bestCer.percent", 0),
            ("ETA", "string", ".status.progress.eta", 0),
            FAILED_OF,
            WAITS_FOR,
            ("Preset", "string", ".spec.recipe.preset", 1),
            ("Output", "string", ".spec.output.uri", 1),
        ),
        status=FinetuneStatus,
    ),
    Kind(
        ASREvaluation,
        "asrevaluations",
        ("asrev",),
        (
            ("Phase", "string", ".status.phase", 0),
            ("Baseline", "string", ".spec.baseline", 0),
            ("Best", "string", ".status.best.model", 0),
            ("CER", "string", ".status.best.percent", 0),
            ("Gate", "string", '.status.conditions[?(@.type=="QualityGatePassed")].status', 0),
            FAILED_OF,
            ("Percent", "integer", ".status.progress.percent", 1),
            WAITS_FOR,
            ("Output", "string", ".spec.output.uri", 1),
        ),
        status=EvaluationStatus,
    ),
    Kind(ASRRuntime, "asrruntimes", ("asrrt",), RUNTIME_COLUMNS),
    Kind(ClusterASRRuntime, "clusterasrruntimes", ("casrrt",), RUNTIME_COLUMNS, scope="Cluster"),
)


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    name = kind.model.__name__
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": header, "type": type_, "jsonPath": path} | ({"priority": priority} if priority else {})
            for header, type_, path, priority in kind.columns
        ]
        + [AGE],
        "schema": {"openAPIV3Schema": _root_schema(kind)},
    }
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": list(kind.short),
                "categories": list(kind.categories),
            },
            "versions": [version],
        },
    }


def render(kind: Kind) -> str:
    """Text of the kind's file."""
    body = yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return HEADER + body


def _root_schema(kind: Kind) -> Schema:
    schema = object_schema(kind.model)
    schema["required"] = ["spec"]
    schema["properties"] = {
        "apiVersion": {"type": "string", "description": f"Version of the API, {GROUP}/{VERSION}."},
        "kind": {"type": "string", "description": f"Kind of the object, {kind.model.__name__}."},
        "metadata": {"type": "object"},
        "spec": schema["properties"]["spec"],
    }
    if kind.status is not None:
        schema["properties"]["status"] = object_schema(kind.status, stored_defaults=False)
    return schema


class _Dumper(yaml.SafeDumper):
    """Without aliases: two equal objects are written twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the base class's signature)
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with --check only compare; the exit status is 1 when one is stale."""
    parser = argparse.ArgumentParser(prog="python -m asrtune_api.crd", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--write", action="store_true", help="write the files (what happens without any option)"
    )
    mode.add_argument("--check", action="store_true", help="fail when a file is not what the models give")
    parser.add_argument(
        "--directory", type=Path, default=DIRECTORY, help="where the files are (default: crds/)"
    )
    options = parser.parse_args(arguments)
    stale = [kind for kind in KINDS if _text(options.directory / kind.file) != render(kind)]
    for kind in stale:
        if options.check:
            sys.stderr.write(
                f"{options.directory / kind.file} is not what the models give: run `make generate`.\n"
            )
        else:
            (options.directory / kind.file).write_text(render(kind), encoding="utf-8")
            sys.stdout.write(f"wrote {options.directory / kind.file}\n")
    return 1 if stale and options.check else 0


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
