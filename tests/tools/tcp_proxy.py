"""A TCP proxy that spoils chosen connections, for tests of what a network does."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What happens to one connection.

    Attributes:
        reset: closed at once with a TCP reset.
        silent: accepted, then nothing.
        status: answered with this HTTP status and an empty body, the server unasked.
        cut_after: closed after so many bytes of the answer.
        flip: packets of the answers that hold the first bytes get the second ones (as many) instead.
        flips: to so many packets of the connection.
        pause: seconds before each packet, either way.
    """

    reset: bool = False
    silent: bool = False
    status: int = 0
    cut_after: int = -1
    flip: tuple[bytes, bytes] | None = None
    flips: int = 1
    pause: float = 0.0


FINE = Fault()


@dataclass
class TcpProxy:
    """Forwards to `target`, an address and a port.

    Attributes:
        faults: what happens to the next connections, one each.
        otherwise: what happens to those beyond.
        connections: how many there were.
    """

    target: tuple[str, int]
    listener: socket.socket
    faults: list[Fault] = field(default_factory=list)
    otherwise: Fault = FINE
    connections: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}"

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed: the test is over
                return
            self.connections += 1
            fault = self.faults.pop(0) if self.faults else self.otherwise
            self._open.append(client)
            threading.Thread(target=self._handle, args=(client, fault), daemon=True).start()

    def close_connections(self) -> None:
        """Cuts all connections there are, so that the next request needs a new one."""
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    @contextmanager
    def spoiled(self, fault: Fault) -> Iterator[None]:
        """Every connection meets a fault until the end of the block; those that are open at either end are cut."""
        met = self.connections
        self.otherwise = fault
        self.close_connections()
        try:
            yield
        finally:
            self.otherwise = FINE
            self.close_connections()
        assert self.connections > met, "nobody asked meanwhile"

    def _handle(self, client: socket.socket, fault: Fault) -> None:
        if fault.silent:
            return
        with client, suppress(OSError):
            if fault.reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif fault.status:
                client.recv(_CHUNK)
                head = f"HTTP/1.1 {fault.status} Spoiled\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                client.sendall(head.encode())
            else:
                with socket.create_connection(self.target) as server:
                    asked = Fault(pause=fault.pause)
                    asking = threading.Thread(target=_forward, args=(client, server, asked), daemon=True)
                    asking.start()
                    _forward(server, client, fault)
                    client.shutdown(socket.SHUT_RDWR)
                    asking.join()


def _forward(source: socket.socket, target: socket.socket, fault: Fault) -> None:
    left, flips = fault.cut_after, fault.flips
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            time.sleep(fault.pause)
            if fault.flip and flips and fault.flip[0] in data:
                data = data.replace(*fault.flip)
                flips -= 1
            if fault.cut_after >= 0:
                data = data[:left]
                left -= len(data)
            target.sendall(data)
            if left == 0:
                break
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def run_proxy(target_port: int, *faults: Fault, host: str = "127.0.0.1") -> Iterator[TcpProxy]:
    """Starts a proxy on an address of this machine; `faults` befall the first connections, in this order."""
    with socket.create_server((host, 0)) as listener:
        proxy = TcpProxy((host, target_port), listener, list(faults))
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()
            proxy.close_connections()
