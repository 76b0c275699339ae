"""A node that has nothing but logs: the API server asks it over TLS as it asks a kubelet.

A real kubelet is not needed to see how the logs of several pods come through the API server, and cannot be had without
root. What a kubelet itself does with a container's log is not tried by it.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from cluster.cluster import Cluster

NAME = "log-node"


@dataclass
class LogNode:
    """What it has been told and asked.

    Attributes:
        logs: lines by pod, each behind its time.
        growing: pods whose logs are not complete: who follows waits for more.
        asked: the queries by pod.
    """

    logs: dict[str, list[str]] = field(default_factory=dict)
    growing: set[str] = field(default_factory=set)
    asked: dict[str, list[dict[str, str]]] = field(default_factory=dict)


@contextmanager
def log_node(cluster: Cluster) -> Iterator[LogNode]:
    """Adds the node; it goes with the block. Nothing is scheduled there: pods name it themselves."""
    node = LogNode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(node))
    pair = cluster.plane.authority.issue(NAME, user=f"system:node:{NAME}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NAME},
            "spec": {"unschedulable": True},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_address[1]}},
            },
        }
    )
    try:
        yield node
    finally:
        cluster.api.delete("nodes", NAME)
        server.shutdown()
        server.server_close()


def _handler(node: LogNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            pod = url.path.split("/")[3]  # /containerLogs/NAMESPACE/POD/CONTAINER
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            node.asked.setdefault(pod, []).append(query)
            self.send_response(200)
            self.end_headers()
            for line in _lines(node, pod, query):
                self.wfile.write(line.encode() + b"\n")
                self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            """Nothing on the test's standard error."""

    return Handler


def _lines(node: LogNode, pod: str, query: dict[str, str]) -> Iterator[str]:
    told: Sequence[str] = node.logs[pod]
    start = max(0, len(told) - int(query["tailLines"])) if "tailLines" in query else 0
    for number in range(start, len(told)):
        yield told[number]
    number = len(told)
    while query.get("follow") == "true" and (pod in node.growing or number < len(node.logs[pod])):
        if number < len(node.logs[pod]):
            yield node.logs[pod][number]
            number += 1
        else:
            time.sleep(0.05)
