"""What watching a run costs it: the time that emit() takes from the training thread for each log line.

Beside it the whole process's processor time for a log line, the sinks' threads and the scrapes included.
Every sink is open and behind it are real things: an HTTP server that is scraped, files, TensorBoard. Prints a table.
"""

from __future__ import annotations

import io
import logging
import statistics
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.table import Table

from asrtune_trainer.telemetry.events import StageStarted, TrainStep
from asrtune_trainer.telemetry.hub import Background, Hub, Sink
from asrtune_trainer.telemetry.jsonl import JsonLines
from asrtune_trainer.telemetry.progress import Planned, Progress, ProgressState
from asrtune_trainer.telemetry.prometheus import RunMetrics
from asrtune_trainer.telemetry.server import Server
from asrtune_trainer.telemetry.tensorboard import TensorBoard
from asrtune_trainer.telemetry.terminal import Plain

EVENTS = 2000
PAUSE_SECONDS = 0.002
"""Between log lines, so that the sinks' threads are awake beside the training thread, as in a real run."""


def step(number: int) -> TrainStep:
    return TrainStep(
        stage="train",
        rank=0,
        epoch=1,
        epochs=10,
        step=number,
        total_steps=EVENTS,
        loss=1.0,
        accuracy=0.5,
        learning_rate=1e-4,
        gradient_norm=1.0,
        batch_utterances=16.0,
        data_seconds=0.01,
        forward_seconds=0.1,
        backward_seconds=0.2,
        optimizer_seconds=0.01,
        step_seconds=0.32,
        utterances_per_second=50.0,
        audio_seconds_per_second=200.0,
        memory_bytes=10**9,
        skipped_steps=0,
        padding_percent=5.0,
    )


def microseconds(hub: Hub) -> tuple[list[float], float]:
    """Time of each emit() after a warm-up, and the process's processor time for one."""
    hub.emit(StageStarted("train", "Train", 1, 1))
    hub.emit(step(0))
    time.sleep(5 if any(sink.name == TensorBoard.name for sink in hub.sinks) else 0.1)
    times = []
    processor = time.process_time()
    for number in range(1, EVENTS + 1):
        event = step(number)
        began = time.perf_counter_ns()
        hub.emit(event)
        times.append((time.perf_counter_ns() - began) / 1000)
        time.sleep(PAUSE_SECONDS)
    return times, 1e6 * (time.process_time() - processor) / EVENTS


def scrape(url: str, over: threading.Event) -> None:
    while not over.wait(0.5):
        for path in ("/metrics", "/progress"):
            with urllib.request.urlopen(url + path, timeout=10) as answer:
                answer.read()


def sinks(directory: Path) -> dict[str, list[Sink]]:
    """The sinks of a run, one by one and together."""

    def begun() -> ProgressState:
        return ProgressState.begin("bench", [Planned("train", 1, trains=True)], time.time())

    def progress() -> Progress:
        return Progress(begun())

    def served() -> list[Sink]:
        shared = progress()
        metrics = RunMetrics(shared)
        return [shared, metrics, Server("127.0.0.1", 0, shared, metrics.registry())]

    def behind(name: str) -> list[Sink]:
        terminal = Plain(Console(file=io.StringIO()), begun())
        files: list[Sink] = [JsonLines(directory / name / "log.jsonl"), TensorBoard(directory / name)]
        return [Background(sink) for sink in (*files, terminal)]

    return {
        "none": [],
        "/progress": [progress()],
        "/progress and /metrics, scraped twice a second": served(),
        "log, TensorBoard, terminal (behind queues)": behind("behind"),
        "all": [*served(), *behind("all")],
    }


def main() -> None:
    logging.disable(logging.WARNING)
    table = Table("sinks", "median us", "p99 us", "max us", "CPU us", title="emit() of a TrainStep")
    with tempfile.TemporaryDirectory() as directory:
        for name, members in sinks(Path(directory)).items():
            over = threading.Event()
            with Hub() as hub:
                for sink in members:
                    hub.add(sink)
                for server in (sink for sink in members if isinstance(sink, Server)):
                    threading.Thread(target=scrape, args=(server.url, over), daemon=True).start()
                times, processor = microseconds(hub)
                over.set()
            percentiles = statistics.quantiles(times, n=100)
            values = (statistics.median(times), percentiles[98], max(times), processor)
            table.add_row(name, *(f"{value:.0f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
