"""What the nodes of a gang say to each other, and the TCP connection that carries it."""

from __future__ import annotations

import socket
import struct
import threading
from multiprocessing.connection import Connection
from typing import Final, Literal

from pydantic import BaseModel, ValidationError

from asrtune_trainer.faults import Failure

LONGEST_BYTES: Final = 1 << 20
_KEEPALIVE: Final = (
    ("TCP_KEEPIDLE", 10),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 4),
    ("TCP_USER_TIMEOUT", 30_000),
)
"""A machine that is cut off says nothing: after 30 s without an answer it counts as gone."""


class Word(BaseModel):
    """One message."""

    kind: Literal["hello", "welcome", "refused", "ready", "start", "stop", "failed", "done"]
    node: int
    """Whom it is about; mostly who says it."""
    gang: str = ""
    """hello: which run and attempt."""
    mark: str = ""
    """ready: fingerprint of the stage, the same on all nodes."""
    port: int = 0
    """start: of torchrun's store on node 0."""
    text: str = ""
    """refused, stop: why."""
    failure: Failure | None = None
    """failed: how; None: it is gone without a word."""


class Line:
    """A connection to another node. What goes wrong with it shows as its end.

    Args:
        connected: the socket; it becomes the line's own.
        patience: seconds for a message, or the rest of one that has begun.
    """

    def __init__(self, connected: socket.socket, patience: int) -> None:
        _watch(connected, patience)
        self._connection = Connection(connected.detach())
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """For `multiprocessing.connection.wait`."""
        return self._connection.fileno()

    def say(self, word: Word) -> None:
        """Send a word; to one that is gone, none."""
        with self._lock:
            try:
                self._connection.send_bytes(word.model_dump_json().encode())
            except OSError:
                return

    def hear(self) -> Word | None:
        """The next word; None where the other end is gone, or does not speak our language."""
        try:
            return Word.model_validate_json(self._connection.recv_bytes(LONGEST_BYTES))
        except (OSError, EOFError, ValidationError):
            return None

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _watch(connected: socket.socket, patience: int) -> None:
    connected.settimeout(None)
    wait = struct.pack("ll", patience, 0)  # a struct timeval
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connected.setsockopt(socket.SOL_SOCKET, option, wait)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):  # macOS lacks some
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
