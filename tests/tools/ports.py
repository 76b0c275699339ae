"""Free loopback ports."""

from __future__ import annotations

import secrets
import socket
import time


def wait_for_port(port: int, host: str = "127.0.0.1", *, seconds: float = 30) -> None:
    """Returns when somebody listens on the port."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def free_port() -> int:
    """A port that nobody listens on, and to which a server can come back after a restart.

    Below the range from which the system gives ports to connections and to who asks for any: nobody takes it meanwhile.
    """
    while True:
        port = 15000 + secrets.randbelow(17000)  # `random` is seeded alike in every worker by hypothesis
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
