"""Free loopback ports."""

from __future__ import annotations

import random
import socket
import time


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


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


def lasting_port() -> int:
    """A free port to which a server can come back after a restart.

    Below the range from which the system gives ports to outgoing connections, so that none of them takes it meanwhile.
    """
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
