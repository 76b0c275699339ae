"""TensorBoard's files, pushes over HTTP, and all sinks together as a RunSpec wishes them."""

import io
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families as parse
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asrtune_api.errors import SpecInvalidError
from asrtune_api.runspec import Telemetry
from asrtune_trainer.telemetry.events import (
    Note,
    Scored,
    StageFinished,
    StageSkipped,
    StageStarted,
    Validated,
    Work,
)
from asrtune_trainer.telemetry.jsonl import read_log
from asrtune_trainer.telemetry.open import open_telemetry
from asrtune_trainer.telemetry.pushgateway import Pushgateway
from asrtune_trainer.telemetry.tensorboard import TensorBoard
from tools.events import train_step
from tools.ports import free_port
from tools.runs import run_spec


class Push(NamedTuple):
    method: str
    path: str
    body: str


class Gateway(ThreadingHTTPServer):
    """Takes pushes as a Pushgateway does (its HTTP API, not its storage); the program is not in any test machine."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Keep)
        self.pushes: Queue[Push] = Queue()
        self.failures = 0
        """Pushes still to be refused."""
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Keep(BaseHTTPRequestHandler):
    server: Gateway

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status = 500 if self.server.failures > 0 else 200
        self.server.failures -= 1
        # Kept before it is answered: who has the answer may count on it.
        self.server.pushes.put(Push(self.command, self.path, body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    yield server
    server.close()


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(directory))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_what_was_drawn(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.accept(StageStarted("train", "Train", 1, 2))
    board.accept(train_step(step=50, loss=2.0))
    board.accept(train_step(step=100, loss=1.5, accuracy=None))
    board.accept(Validated("train", 2, 100, 1.25, None, 12.5, 1.0, best=True))
    board.accept(StageFinished("train", "Train", 1.0))
    board.accept(Scored("evaluate", "telephone", "base", 40.0, 38.0, 42.0, 100))
    board.close()
    drawn = scalars(tmp_path / "train")
    assert drawn["train/loss"] == [(50, 2.0), (100, 1.5)]
    assert drawn["train/accuracy"] == [(50, 0.75)]
    assert drawn["valid/loss"] == [(100, 1.25)]
    assert drawn["valid/cer"] == [(100, 12.5)]
    assert "valid/accuracy" not in drawn
    assert scalars(tmp_path / "evaluate") == {"cer/telephone/base": [(0, 40.0)]}


def test_a_resumed_stage_takes_back_what_its_interrupted_attempt_drew(tmp_path: Path) -> None:
    killed = TensorBoard(tmp_path)
    for step in (50, 100, 150, 200):
        killed.accept(train_step(step=step, loss=2.0))
    killed.close()
    resumed = TensorBoard(tmp_path)
    for step in (150, 200, 250):
        resumed.accept(train_step(step=step, loss=1.0))
    resumed.close()
    assert scalars(tmp_path / "train")["train/loss"] == [
        (50, 2.0),
        (100, 2.0),
        (150, 1.0),
        (200, 1.0),
        (250, 1.0),
    ]


def test_stages_without_curves_leave_no_run_behind(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "tensorboard")
    board.accept(StageStarted("prepare", "Prepare", 1, 2))
    board.accept(Work("prepare", "checked", 1, 2))
    board.accept(StageFinished("prepare", "Prepare", 1.0))
    board.close()
    assert not (tmp_path / "tensorboard").exists()


def test_a_push_at_the_end_of_a_stage_groups_by_run(gateway: Gateway, tmp_path: Path) -> None:
    run = run_spec(tmp_path, telemetry=Telemetry(push_gateway=gateway.url))
    with open_telemetry(run, tmp_path, console=Console(file=io.StringIO())) as hub:
        hub.emit(train_step(loss=0.5))
        hub.emit(StageFinished("train", "Train", 1.0))
        push = gateway.pushes.get(timeout=60)
    assert (push.method, push.path) == ("PUT", "/metrics/job/asrtune/run/demo")
    values = {sample.name: sample for family in parse(push.body) for sample in family.samples}
    assert values["asrtune_train_loss"].value == 0.5
    assert values["asrtune_train_loss"].labels["run"] == "demo"


def test_the_last_values_are_pushed_at_the_end(gateway: Gateway) -> None:
    sink = Pushgateway(gateway.url, "demo", CollectorRegistry(), pytest.fail)
    sink.accept(train_step())
    sink.close()
    assert gateway.pushes.qsize() == 1


def test_no_more_than_a_push_an_interval(gateway: Gateway) -> None:
    sink = Pushgateway(gateway.url, "demo", CollectorRegistry(), pytest.fail, interval=600)
    for step in range(1000):
        sink.accept(train_step(step=step))
    sink.close()
    assert gateway.pushes.qsize() == 1


def test_pushes_come_by_themselves(gateway: Gateway) -> None:
    sink = Pushgateway(gateway.url, "demo", CollectorRegistry(), pytest.fail, interval=0.01)
    for step in range(3):
        sink.accept(train_step(step=step))
        gateway.pushes.get(timeout=60)
    sink.close()


def test_a_failing_gateway_is_told_of_once(gateway: Gateway) -> None:
    gateway.failures = 3
    told: list[str] = []
    sink = Pushgateway(gateway.url, "demo", CollectorRegistry(), told.append, interval=0.01)
    for step in range(4):
        sink.accept(train_step(step=step))
        gateway.pushes.get(timeout=60)
    sink.close()
    assert told == [f"the Pushgateway {gateway.url} cannot be reached: HTTP Error 500: Internal Server Error"]


def test_a_gateway_that_comes_back_is_pushed_to() -> None:
    port = free_port()
    told: Queue[str] = Queue()
    sink = Pushgateway(f"http://127.0.0.1:{port}", "demo", CollectorRegistry(), told.put, interval=0.01)
    sink.accept(train_step())
    assert "cannot be reached" in told.get(timeout=60)
    back = Gateway(port)
    sink.accept(train_step())
    back.pushes.get(timeout=60)
    sink.close()
    back.close()


def test_a_gateway_that_never_answers_does_not_hold_up_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told: list[str] = []
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sink = Pushgateway(url, "demo", CollectorRegistry(), told.append, timeout=0.05)
        sink.accept(train_step())
        sink.close()
        assert len(told) == 1


def test_a_run_as_its_spec_wishes_it_watched(tmp_path: Path) -> None:
    shown = io.StringIO()
    run = run_spec(tmp_path, telemetry=Telemetry(port=0), stop_after="train")
    with open_telemetry(run, tmp_path, console=Console(file=shown)) as hub:
        hub.emit(StageSkipped("prepare", "Prepare", 1, 3))
        hub.emit(StageStarted("train", "Train", 2, 3))
        hub.emit(train_step(step=200, total_steps=400))
        url = next(sink.url for sink in hub.sinks if hasattr(sink, "url"))
        with urllib.request.urlopen(f"{url}/progress", timeout=30) as answer:
            progress = json.load(answer)
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
            families = {family.name: family for family in parse(answer.read().decode())}
    # Prepare's usual share is 4 to Train's 70, and Evaluate was not asked for.
    assert progress["percent"] == round(100 * (4 + 35) / 74, 2)
    assert families["asrtune_train_step"].samples[0].value == 200
    lines = shown.getvalue().splitlines()
    assert lines[0] == f"{url}/progress and {url}/metrics show this run."
    assert lines[1:3] == ["[1/3] prepare: unchanged, skipped", "[2/3] train"]
    assert lines[3].startswith("train: rank 0, epoch 2/20, step 200/400")
    assert [type(event).__name__ for _, event in read_log(tmp_path / "log.jsonl")] == [
        "Note",
        "StageSkipped",
        "StageStarted",
        "TrainStep",
    ]
    assert scalars(tmp_path / "tensorboard" / "train")["train/loss"] == [(200, 1.25)]


def test_a_node_that_follows_serves_and_writes_nothing(tmp_path: Path) -> None:
    shown = io.StringIO()
    run = run_spec(tmp_path, telemetry=Telemetry(port=0))
    with open_telemetry(run, tmp_path, leads=False, console=Console(file=shown)) as hub:
        hub.emit(Note("train", "follows node 0"))
        assert [sink.name for sink in hub.sinks] == ["the terminal"]
    assert shown.getvalue() == "train: follows node 0\n"
    assert list(tmp_path.iterdir()) == []


def test_a_fixed_port_that_is_taken_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        run = run_spec(tmp_path, telemetry=Telemetry(port=owner.getsockname()[1]))
        with pytest.raises(SpecInvalidError, match="cannot be had") as caught:
            open_telemetry(run, tmp_path, fixed_port=True, console=Console(file=io.StringIO()))
    assert caught.value.reason == "PortInUse"


def test_without_a_port_nothing_listens(tmp_path: Path) -> None:
    with open_telemetry(run_spec(tmp_path), tmp_path, console=Console(file=io.StringIO())) as hub:
        assert [sink.name for sink in hub.sinks] == [
            "/progress",
            "/metrics",
            "the event log",
            "TensorBoard",
            "the terminal",
        ]


def test_a_busy_port_is_a_warning(tmp_path: Path) -> None:
    shown = io.StringIO()
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        run = run_spec(tmp_path, telemetry=Telemetry(port=port))
        with open_telemetry(run, tmp_path, console=Console(file=shown), quiet=True) as hub:
            serving = next(sink.port for sink in hub.sinks if hasattr(sink, "port"))
    assert shown.getvalue() == (
        f"warning: port {port} of 127.0.0.1 cannot be had; serving on port {serving} instead\n"
    )


def test_an_address_that_is_not_ours_is_a_warning(tmp_path: Path) -> None:
    shown = io.StringIO()
    run = run_spec(tmp_path, telemetry=Telemetry(port=0, host="192.0.2.1"))
    with open_telemetry(run, tmp_path, console=Console(file=shown), quiet=True) as hub:
        hub.emit(train_step())
    assert shown.getvalue().startswith("warning: /metrics and /progress cannot be served on 192.0.2.1: ")
    assert len(shown.getvalue().splitlines()) == 1


def test_a_directory_that_cannot_be_written_costs_the_log_and_the_curves_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shown = io.StringIO()
    with open_telemetry(run_spec(tmp_path), tmp_path / "file", console=Console(file=shown)) as hub:
        hub.emit(train_step())
        hub.emit(Note("train", "goes on"))
    warned = [line for line in shown.getvalue().splitlines() if "warning: " in line]
    assert len(warned) == 2
    assert warned[0].startswith("warning: there will be no event log: ")
    assert warned[1].startswith("train: warning: TensorBoard")
    assert "train: goes on" in shown.getvalue()
