"""A small HTTP server in the run's process: /metrics, /progress, /healthz."""

from __future__ import annotations

import socket
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from asrtune_trainer.telemetry.events import Event
from asrtune_trainer.telemetry.progress import Progress

IDLE_SECONDS = 60.0
"""A client that says nothing for so long is hung up on."""
TEXT = "text/plain; charset=utf-8"


class Server:
    """Serves a run to whoever asks, from daemon threads: it ends with the process and never delays its end.

    Args:
        host: address to bind.
        port: 0 takes a free one.
        fixed: on a laptop a busy port is no reason to end a run: a free one is taken instead, and `moved_from` says
            so. In a pod nobody would ask at another one.
        progress: what /progress says.
        registry: what /metrics says.

    Raises:
        OSError: if the address cannot be bound on any port, or not on this one where it is fixed.
    """

    name = "the metrics server"

    def __init__(
        self, host: str, port: int, progress: Progress, registry: CollectorRegistry, *, fixed: bool = False
    ) -> None:
        self.moved_from: int | None = None
        try:
            self._http = _Http(host, port, progress, registry)
        except OSError:
            if port == 0 or fixed:
                raise
            self._http = _Http(host, 0, progress, registry)
            self.moved_from = port
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, name=self.name, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Where it is served, without a path."""
        host = str(self._http.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def accept(self, event: Event) -> None:
        """Answers are made when somebody asks; nothing to do."""

    def close(self) -> None:
        """Stop answering and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    # Nor does server_close() wait for daemon threads: a client that reads slowly delays nothing.
    daemon_threads = True

    def __init__(self, host: str, port: int, progress: Progress, registry: CollectorRegistry) -> None:
        self.progress = progress
        self.registry = registry
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks DNS for the host's name, which may take seconds.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = IDLE_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "asrtune"
    sys_version = ""

    def do_GET(self) -> None:
        try:
            status, kind, body = self._page()
        except Exception as error:  # noqa: BLE001 (a broken page is told to its reader; the run goes on)
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, f"{error!r}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """A scrape every few seconds is no news."""

    def _page(self) -> tuple[HTTPStatus, str, bytes]:
        match self.path.split("?", 1)[0]:
            case "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                return HTTPStatus.OK, kind, encode(self.server.registry)
            case "/progress":
                return HTTPStatus.OK, "application/json", self.server.progress.json()
            case "/healthz":
                return HTTPStatus.OK, TEXT, b"ok\n"
        return HTTPStatus.NOT_FOUND, TEXT, b"Not found. There are /metrics, /progress and /healthz.\n"
