"""What a container of a built image holds, asked by its own programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cluster.cluster import Cluster

COMPILERS: Final = (
    r".*/\(.*-linux-gnu-\)?\(gcc\|g\+\+\|cc\|c\+\+\|clang\|cpp\|cc1\|cc1plus\|ld\|as\|ar\|make\|cmake\|nvcc\|rustc\|go\)"
    r"\(-[0-9.]+\)?"
)
CACHES: Final = (
    "/var/cache/uv",
    "/var/lib/apt/lists",
    "/var/cache/apt/archives",
    "/tmp",
    "/opt/tools",
    "/source",
)
"""Where builds leave what nobody needs; a path that is not there is as good as an empty one."""


@dataclass(frozen=True)
class Inside:
    """A running container."""

    cluster: Cluster
    namespace: str
    pod: str

    def run(self, *command: str) -> str:
        """What a command in it prints."""
        return self.cluster.plane.kubectl("exec", "-n", self.namespace, self.pod, "--", *command).strip()

    def python(self, script: str) -> str:
        """What a script prints."""
        return self.run("python", "-c", script)

    def find(self, *tests: str) -> list[str]:
        """Paths in its image (not in mounts) that meet tests of `find`; what it may not read is left out."""
        return self.run(
            "sh", "-c", 'find / -xdev "$@" -print 2>/dev/null || true', "find", *tests
        ).splitlines()

    def compilers(self) -> list[str]:
        """Programs that compile, assemble or link, anywhere."""
        return self.find("-regex", COMPILERS, "(", "-type", "f", "-o", "-type", "l", ")", "-perm", "/111")

    def changes_users(self) -> list[str]:
        """Files that run as another user than the one that starts them."""
        return self.find("-type", "f", "-perm", "/6000")

    def writable_by_all(self) -> list[str]:
        """Files and directories of the image itself."""
        mounts = {line.split()[1] for line in self.run("cat", "/proc/mounts").splitlines()}
        return [path for path in self.find("-not", "-type", "l", "-perm", "-o+w") if path not in mounts]

    def left_behind(self, paths: Sequence[str] = CACHES) -> list[str]:
        """Files in the places where builds leave theirs, and caches of pip and uv anywhere."""
        found = self.run(
            "sh", "-c", 'find "$@" -type f -size +0 2>/dev/null || true', "find", *paths
        ).splitlines()
        return [*found, *self.find("-type", "d", "-regex", r".*/\(\.cache\|cache/pip\)/.*")]
