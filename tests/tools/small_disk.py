"""A disk of its own for one directory, on this machine and on its nodes alike."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.nodes import Nodes

_FILLER = "filler"
_CHUNK = bytes(1 << 20)


@dataclass(frozen=True)
class SmallDisk:
    """A mounted file system."""

    path: Path

    def fill(self) -> None:
        """Somebody else writes until nothing more goes in."""
        with (self.path / _FILLER).open("wb", buffering=0) as file:
            for size in (len(_CHUNK), 4096, 1):
                _write_until_full(file.fileno(), _CHUNK[:size])

    def empty(self) -> None:
        """That is deleted again."""
        (self.path / _FILLER).unlink()


@contextmanager
def small_disk(nodes: Nodes, path: Path, image: Path, *, mebibytes: int, owner: int) -> Iterator[SmallDisk]:
    """A file system of some mebibytes at `path`, which is made; its bytes are in the file `image`."""
    path.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    _run("mkfs.ext4", "-q", "-m", "0", image)
    with ExitStack() as stack:
        device = _run("losetup", "--find", "--show", image)
        stack.callback(_run, "losetup", "--detach", device)
        _run("mount", device, path)
        stack.callback(_run, "umount", "--lazy", path)
        nodes.run_in_each("mount", device, path)  # their mounts are their own
        stack.callback(nodes.run_in_each, "umount", "--lazy", path)
        os.chown(path, owner, owner)
        yield SmallDisk(path)


def _write_until_full(file: int, data: bytes) -> None:
    try:
        while os.write(file, data) == len(data):
            pass
    except OSError:
        return


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
