"""`kubectl-asrtune` as users start it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from asrtune_operator.kubectl.main import app

SCRIPTS = Path(__file__).parents[2] / ".venv/bin"


@dataclass(frozen=True)
class Plugin:
    """With one kubeconfig."""

    kubeconfig: Path

    def __call__(self, *arguments: str) -> Result:
        """Run a command in this process: a process of its own takes a second to start."""
        return self.run(*arguments, "--kubeconfig", str(self.kubeconfig))

    @staticmethod
    def run(*arguments: str) -> Result:
        """Run a command without a cluster."""
        return CliRunner().invoke(app, arguments)

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a process with the console script on PATH, and nothing of the test's own but the kubeconfig."""
        environment = {
            "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
        }
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def says(self, *arguments: str, code: int = 0) -> str:
        """What a command says, in one line: its answer, or why it failed. It ends with this code."""
        done = self(*arguments)
        assert done.exit_code == code, f"{done.exit_code}\n{done.stdout}\n{done.stderr}"
        return " ".join((done.stdout if code in {0, 1, 2} else done.stderr).split())
