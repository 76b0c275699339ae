"""A process in namespaces of its own, as a pod under the restricted Pod Security level has them: no image needed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

USER, GROUP = 12345, 54321
"""Ids that no file knows."""
_SCRIPT = """
set -e
mount --make-rprivate /
for path in /tmp "$1"; do mount --rbind "$path" "$path"; done
mount -o remount,bind,ro /
mount -t proc proc /proc
shift
exec unshare --user --map-user={user} --map-group={group} "$@"
"""


def contained(writable: Path, command: Sequence[str]) -> list[str]:
    """The command as process 1 of a pid namespace, as a user that nobody knows, on a read-only file system.

    Args:
        writable: the one directory besides /tmp that it may write.
        command: what to run.
    """
    script = _SCRIPT.format(user=USER, group=GROUP)
    return [*_namespaces(), "sh", "-c", script, "sh", str(writable), *command]


def require_namespaces() -> None:
    """Skip the test where this machine lets nobody make namespaces."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    done = subprocess.run([*_namespaces(), "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"namespaces cannot be made here: {done.stderr.strip()}")


def _namespaces() -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]
