"""A CI job at a test's cluster: the scripts of examples/ci, in a repository of a user's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.binaries import find

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/ci"


@dataclass(frozen=True)
class Checkout:
    """What a CI job has: the repository with ci/, a kubeconfig, and the programs of the image.

    Attributes:
        root: the job's directory.
        kubeconfig: who it is.
        commit: what it checks.
    """

    root: Path
    kubeconfig: Path
    commit: str

    def prepare(self, runtime: str) -> None:
        """Put in what the templates expect, with pods that behave as a runtime of the namespace says."""
        (self.root / "ci").mkdir()
        shutil.copy(EXAMPLES / "asr-gate.sh", self.root / "ci")
        text = (EXAMPLES / "evaluation.yaml").read_text()
        own = f"  runtimeRef: {{kind: ASRRuntime, name: {runtime}}}\n"
        self.manifest.write_text(text + own)
        (self.root / "bin").mkdir()
        (self.root / "bin/kubectl").symlink_to(find("kube", "kubectl"))
        (self.root / "bin/kubectl-asrtune").symlink_to(ROOT / ".venv/bin/kubectl-asrtune")

    @property
    def manifest(self) -> Path:
        return self.root / "ci/evaluation.yaml"

    @property
    def summary(self) -> Path:
        return self.root / "summary.md"

    def gate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """asr-gate.sh to its end."""
        return self.run("sh", "ci/asr-gate.sh", *arguments)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of the job to its end."""
        process = self.start(*command, **environment)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """A command of the job."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.root, env=self._environment(environment), stdout=pipe, stderr=pipe, text=True
        )

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            **more,
        }
