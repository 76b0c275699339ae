"""The HTTP server: real requests on loopback."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from asrtune_trainer.telemetry.events import StageStarted
from asrtune_trainer.telemetry.hub import Hub
from asrtune_trainer.telemetry.progress import Planned, Progress, ProgressState
from asrtune_trainer.telemetry.prometheus import RunMetrics
from asrtune_trainer.telemetry.server import Server
from tools.events import train_step

PLAN = (Planned("train", 1, trains=True),)
STOPPABLE = """
import time
from asrtune_trainer.stages.stop import StopSignal, stop_on_signals
from asrtune_trainer.telemetry.hub import Hub
from asrtune_trainer.telemetry.progress import Progress, ProgressState
from asrtune_trainer.telemetry.prometheus import RunMetrics
from asrtune_trainer.telemetry.server import Server

with stop_on_signals(StopSignal()) as stop, Hub() as hub:
    progress = Progress(ProgressState.begin("demo", (), 0.0))
    server = Server("127.0.0.1", 0, progress, RunMetrics(progress).registry())
    hub.add(server)
    print(server.port, flush=True)
    while not stop:
        time.sleep(0.01)
raise SystemExit(75)
"""


class Served(NamedTuple):
    hub: Hub
    server: Server


@pytest.fixture
def served() -> Iterator[Served]:
    with Hub() as hub:
        progress = Progress(ProgressState.begin("demo", PLAN, 0.0))
        metrics = RunMetrics(progress)
        hub.add(progress)
        hub.add(metrics)
        server = Server("127.0.0.1", 0, progress, metrics.registry())
        hub.add(server)
        yield Served(hub, server)


def get(url: str, accept: str = "*/*") -> tuple[str, bytes]:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_metrics_can_be_scraped(served: Served) -> None:
    served.hub.emit(train_step(loss=0.5))
    kind, body = get(f"{served.server.url}/metrics")
    assert kind.startswith("text/plain; version=")
    values = {sample.name: sample.value for family in parse(body.decode()) for sample in family.samples}
    assert values["asrtune_train_loss"] == 0.5


def test_metrics_can_be_scraped_as_openmetrics(served: Served) -> None:
    served.hub.emit(train_step())
    kind, body = get(f"{served.server.url}/metrics", "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert "asrtune_train_loss" in {family.name for family in parse_openmetrics(body.decode())}


def test_progress_is_json(served: Served) -> None:
    served.hub.emit(StageStarted("train", "Train", 1, 1))
    served.hub.emit(train_step(step=100, total_steps=400))
    kind, body = get(f"{served.server.url}/progress?pretty")
    assert kind == "application/json"
    document = json.loads(body)
    assert (document["run"], document["percent"], document["step"]) == ("demo", 25, 100)


def test_health_and_what_is_not_there(served: Served) -> None:
    assert get(f"{served.server.url}/healthz")[1] == b"ok\n"
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{served.server.url}/other")
    with refused.value as answer:
        assert answer.code == 404
        assert b"/metrics, /progress and /healthz" in answer.read()


def test_head_has_no_body_and_the_connection_goes_on(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=30)
    connection.request("HEAD", "/healthz")
    answer = connection.getresponse()
    assert (answer.status, answer.read(), answer.headers["Content-Length"]) == (200, b"", "3")
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"ok\n"
    connection.close()


def test_a_broken_page_is_told_to_its_reader(served: Served) -> None:
    served.hub.emit(train_step(stage="\udc80"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{served.server.url}/metrics")
    with refused.value as answer:
        assert answer.code == 500
        assert b"surrogates" in answer.read()
    assert get(f"{served.server.url}/healthz")[1] == b"ok\n"


def test_scrapes_while_events_flow_are_whole(served: Served) -> None:
    over = threading.Event()

    def emit() -> int:
        step = 0
        while not over.is_set():
            step += 1
            served.hub.emit(
                train_step(step=step, total_steps=10**7, loss=float(step), learning_rate=float(step))
            )
        return step

    def scrape() -> list[float]:
        steps = []
        for _ in range(50):
            body = get(f"{served.server.url}/metrics")[1].decode()
            values = {sample.name: sample.value for family in parse(body) for sample in family.samples}
            assert (
                values["asrtune_train_loss"]
                == values["asrtune_train_step"]
                == values["asrtune_train_learning_rate"]
            )
            steps.append(json.loads(get(f"{served.server.url}/progress")[1])["step"])
        return steps

    served.hub.emit(StageStarted("train", "Train", 1, 1))
    served.hub.emit(train_step(step=0, loss=0.0, learning_rate=0.0))
    with ThreadPoolExecutor(5) as pool:
        emitted = pool.submit(emit)
        scrapes = [pool.submit(scrape) for _ in range(4)]
        try:
            found = [one.result(timeout=120) for one in scrapes]
        finally:
            over.set()
    for steps in found:
        assert steps == sorted(steps)
        assert steps[-1] <= emitted.result()


def test_a_busy_port_is_left_to_its_owner() -> None:
    progress = Progress(ProgressState.begin("demo", PLAN, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        server = Server("127.0.0.1", port, progress, CollectorRegistry())
        assert server.moved_from == port
        assert server.port != port
        assert get(f"{server.url}/healthz")[1] == b"ok\n"
        server.close()


def test_a_fixed_port_is_had_or_not() -> None:
    progress = Progress(ProgressState.begin("demo", PLAN, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as owner, pytest.raises(OSError):
        Server("127.0.0.1", owner.getsockname()[1], progress, CollectorRegistry(), fixed=True)


def test_close_frees_the_port_even_while_clients_hang_on(served: Served) -> None:
    port = served.server.port
    idle = socket.create_connection(("127.0.0.1", port))
    half = socket.create_connection(("127.0.0.1", port))
    half.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
    served.hub.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
    again = Server("127.0.0.1", port, Progress(ProgressState.begin("demo", PLAN, 0.0)), CollectorRegistry())
    assert again.moved_from is None
    again.close()
    idle.close()
    half.close()


def test_a_client_that_goes_away_in_the_middle_is_no_news(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        gone = socket.create_connection(("127.0.0.1", served.server.port))
        gone.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
    assert get(f"{served.server.url}/healthz")[1] == b"ok\n"
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6() -> None:
    progress = Progress(ProgressState.begin("demo", PLAN, 0.0))
    try:
        server = Server("::1", 0, progress, CollectorRegistry())
    except OSError:
        pytest.skip("no IPv6 loopback")
    assert server.url.startswith("http://[::1]:")
    assert get(f"{server.url}/healthz")[1] == b"ok\n"
    server.close()


def test_sigterm_ends_the_process_while_a_client_hangs_on() -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPABLE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 75
