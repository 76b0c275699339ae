"""Wires the sinks of a run, as its RunSpec says."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from asrtune_api.errors import SpecInvalidError
from asrtune_api.runspec import RunSpec
from asrtune_trainer.telemetry.events import Note
from asrtune_trainer.telemetry.hub import Background, Hub
from asrtune_trainer.telemetry.jsonl import LOG_NAME, JsonLines
from asrtune_trainer.telemetry.progress import Progress, ProgressState, plan_of
from asrtune_trainer.telemetry.prometheus import RunMetrics
from asrtune_trainer.telemetry.pushgateway import Pushgateway
from asrtune_trainer.telemetry.server import Server
from asrtune_trainer.telemetry.tensorboard import DIRECTORY, TensorBoard
from asrtune_trainer.telemetry.terminal import terminal_sink

TENSORBOARD_SECONDS = 30.0
"""How long the end of a run waits for the curves: a short run may end while PyTorch is still being imported."""


def open_telemetry(
    run: RunSpec,
    directory: Path,
    *,
    leads: bool = True,
    attempt: int = 0,
    log_name: str = LOG_NAME,
    fixed_port: bool = False,
    console: Console | None = None,
    quiet: bool = False,
) -> Hub:
    """The telemetry of a run; close it (it is a context manager) before printing anything else.

    Nothing else that is wrong here ends a run: what cannot be opened is left out with a warning.

    Args:
        run: `telemetry` says what is served and pushed.
        directory: local; gets the event log and `tensorboard/`.
        leads: nodes that follow say what they do, and nothing else.
        attempt: what /progress calls it.
        log_name: of the event log; pods that run parts of a chain on machines of their own each need another.
        fixed_port: serve on the port that `run` names or not at all.
        console: where to show the run; None: standard output.
        quiet: show warnings alone.

    Raises:
        SpecInvalidError: the fixed port is taken.
    """
    hub = Hub()
    state = ProgressState.begin(run.name, plan_of(run), time.time(), attempt=attempt)
    terminal = Background(terminal_sink(console or Console(), state, quiet=quiet))
    if not leads:
        hub.add(terminal)
        return hub
    progress = Progress(state)
    metrics = RunMetrics(progress)
    hub.add(progress)
    hub.add(metrics)
    problems = _add_server(hub, run, progress, metrics, fixed=fixed_port) + _add_log(
        hub, directory / log_name
    )
    hub.add(Background(TensorBoard(directory / DIRECTORY), patience=TENSORBOARD_SECONDS))
    if run.telemetry.push_gateway:
        hub.add(Pushgateway(run.telemetry.push_gateway, run.name, metrics.registry(), hub.warn))
    # Last: it shows what is wrong with those before it.
    hub.add(terminal)
    for problem in problems:
        hub.warn(problem)
    for server in (sink for sink in hub.sinks if isinstance(sink, Server)):
        hub.emit(Note("", f"{server.url}/progress and {server.url}/metrics show this run."))
    return hub


def _add_log(hub: Hub, path: Path) -> list[str]:
    try:
        hub.add(Background(JsonLines(path)))
    except OSError as error:
        return [f"there will be no event log: {error}"]
    return []


def _add_server(hub: Hub, run: RunSpec, progress: Progress, metrics: RunMetrics, *, fixed: bool) -> list[str]:
    wanted = run.telemetry
    if wanted.port is None:
        return []
    try:
        server = Server(wanted.host, wanted.port, progress, metrics.registry(), fixed=fixed)
    except OSError as error:
        if fixed:
            raise SpecInvalidError(
                f"port {wanted.port} of {wanted.host} cannot be had: {error}.",
                where="spec.telemetry.port of the runtime",
                remedy="Set another port there; with the host's network each run needs its own.",
                reason="PortInUse",
            ) from error
        return [f"/metrics and /progress cannot be served on {wanted.host}: {error}"]
    hub.add(server)
    if server.moved_from is not None:
        return [
            f"port {server.moved_from} of {wanted.host} cannot be had; serving on port {server.port} instead"
        ]
    return []
