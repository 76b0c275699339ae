"""Machines with a network of their own between them, whose cable can be pulled: network namespaces, no privileges."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Machine:
    """One end of the cable.

    Attributes:
        prefix: what a command begins with to run there.
        address: its own.
        interface: of the cable.
    """

    prefix: tuple[str, ...]
    address: str
    interface: str

    def run(self, *command: str) -> None:
        """Run a command to its end."""
        subprocess.run([*self.prefix, *command], check=True)

    def unplug(self) -> None:
        """Pull the cable: nothing that is sent arrives any more, and nobody is told."""
        self.run("ip", "link", "set", self.interface, "down")


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a cable between them; the test is skipped where nobody may make namespaces."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("there is no unshare or no ip here")
    with ExitStack() as stack:
        first = _namespace(stack, "unshare", "--user", "--map-root-user", "--net")
        enter = ("nsenter", "--preserve-credentials", "--user", "--net")
        second = _namespace(stack, *enter, f"--target={first}", "unshare", "--net")
        one = Machine((*enter, f"--target={first}"), "10.9.0.1", "left")
        two = Machine((*enter, f"--target={second}"), "10.9.0.2", "right")
        one.run("ip", "link", "add", "left", "type", "veth", "peer", "name", "right", "netns", str(second))
        for machine in (one, two):
            machine.run("ip", "address", "add", f"{machine.address}/24", "dev", machine.interface)
            machine.run("ip", "link", "set", machine.interface, "up")
            machine.run("ip", "link", "set", "lo", "up")
        yield one, two


def _namespace(stack: ExitStack, *command: str) -> int:
    """A process in a new namespace; its id."""
    process = subprocess.Popen([*command, "sleep", "infinity"])
    stack.callback(process.wait)
    stack.callback(process.kill)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process.pid}/comm").read_text().strip() != "sleep":
        if process.poll() is not None:
            pytest.skip("namespaces cannot be made here")
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process.pid
