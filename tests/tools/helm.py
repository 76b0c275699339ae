"""The real Helm, with nothing of the user's own configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.binaries import find

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "asrtune"
CRDS = ROOT / "charts" / "asrtune-crds"
VALUES = ROOT / "tests" / "charts" / "values"
SYSTEM = "asrtune-system"
Json = dict[str, Any]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    output: str
    error: str


@dataclass(frozen=True)
class Helm:
    """Helm with a home of its own, and, where it needs one, a cluster.

    Attributes:
        home: an existing directory.
        kubeconfig: of the cluster; None: none.
    """

    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str | Path) -> Done:
        """Run it, however it ends."""
        own = {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        kubeconfig = self.kubeconfig or self.home / "no-cluster"
        command = [find("helm", "helm"), *arguments]
        environment = os.environ | own | {"KUBECONFIG": str(kubeconfig)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str | Path) -> str:
        """Its output.

        Raises:
            AssertionError: it fails; with what it said.
        """
        done = self.run(*arguments)
        assert done.code == 0, f"helm {' '.join(map(str, arguments))}: {done.error}{done.output}"
        return done.output

    def template(self, chart: Path = CHART, *options: str | Path, release: str = "asrtune") -> list[Json]:
        """What a chart comes to."""
        text = self("template", release, chart, "--namespace", SYSTEM, *options)
        return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def values(name: str) -> list[str | Path]:
    """Options that take a file of tests/charts/values; none for `default`."""
    return [] if name == "default" else ["--values", VALUES / f"{name}.yaml"]


def of_kind(documents: Sequence[Json], kind: str) -> list[Json]:
    """Those of a kind."""
    return [one for one in documents if one["kind"] == kind]
