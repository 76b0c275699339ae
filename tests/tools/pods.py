"""`asrtune execute` as pods run it: a RunSpec in a file, a scratch directory each, a termination log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from asrtune_api.progress import ProgressDocument
from asrtune_api.resolve import Place
from asrtune_api.runspec import RunSpec
from asrtune_api.termination import TerminationMessage
from asrtune_trainer.cli.run import resolve_manifest
from tools.ports import free_port
from tools.project import Project

UID = "5f3c1d1e-0000-4000-8000-000000000001"
PROGRAM = "from asrtune_trainer.cli import main; main()"


@dataclass
class Pod:
    """One process of `asrtune execute`, with all that its container would have."""

    process: subprocess.Popen[str]
    root: Path
    log: Path
    port: int = 0
    output: tuple[str, str] = field(default=("", ""))

    def wait(self, seconds: float = 240) -> int:
        """Its exit code; killed, and an error, if it takes longer."""
        try:
            self.output = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return self.process.returncode

    def terminate(self) -> None:
        """What the kubelet does first."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """What the kernel does to a container: all its processes go at once."""
        for pid in [*descendants(self.process.pid), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.output = self.process.communicate()

    @property
    def message(self) -> TerminationMessage:
        """Its last words."""
        found = TerminationMessage.decode(self.log.read_bytes())
        assert found is not None, self.log.read_bytes()
        return found

    def progress(self) -> ProgressDocument:
        """What it serves."""
        with urlopen(f"http://127.0.0.1:{self.port}/progress", timeout=10) as answer:
            return ProgressDocument.model_validate_json(answer.read())

    def said(self) -> str:
        return "".join(self.output)


def write_run(project: Project, **changes: Any) -> Path:
    """The RunSpec of a project's manifest, in a file."""
    run = resolve_manifest(project.manifest, ()).model_copy(update=changes)
    path = project.root / "run.json"
    path.write_text(run.model_dump_json(exclude={"decisions"}, exclude_none=True), "utf-8")
    return path


def with_port(run: Path, port: int) -> Path:
    """The same RunSpec, served on a port."""
    spec = RunSpec.model_validate_json(run.read_bytes())
    telemetry = spec.telemetry.model_copy(update={"port": port, "host": Place().telemetry_host})
    path = run.with_name(f"run-{port}.json")
    path.write_text(spec.model_copy(update={"telemetry": telemetry}).model_dump_json(exclude_none=True))
    return path


def start_pod(
    run: Path,
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    serve: bool = False,
    command: Sequence[str] = (sys.executable, "-c", PROGRAM),
) -> Pod:
    """Start a pod in a directory of its own.

    Args:
        run: the RunSpec.
        root: of its scratch space and termination log.
        arguments: of `execute`.
        environment: besides this process's.
        serve: on a free port; `Pod.port` says which.
        command: how asrtune is called.
    """
    root.mkdir(parents=True, exist_ok=True)
    port = free_port() if serve else 0
    log = root / "termination-log"
    log.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            *command,
            "execute",
            str(with_port(run, port) if serve else run),
            *arguments,
            f"--workdir={root / 'scratch'}",
            f"--termination-log={log}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )
    return Pod(process, root, log, port)


def start_gang(run: Path, root: Path, nodes: int, *arguments: str, **options: Any) -> list[Pod]:
    """Start the pods of a gang, node 0 first."""
    rendezvous = f"--rendezvous=127.0.0.1:{free_port()}"
    return [
        start_pod(run, root / f"node-{rank}", rendezvous, f"--node-rank={rank}", *arguments, **options)
        for rank in range(nodes)
    ]


def descendants(pid: int) -> list[int]:
    """Processes that a process and its children have started and that still run."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def manifest_of(output: Path, stage: str) -> dict[str, Any]:
    """The manifest of a finished stage at a local output."""
    document: dict[str, Any] = json.loads((output / "stages" / stage / "manifest.json").read_text())
    return document
