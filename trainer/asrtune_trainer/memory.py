"""Whether the kernel has killed for want of memory: a SIGKILL alone does not say who sent it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_COUNTER: Final = "oom_kill"
_FILES: Final = {"memory": "memory.oom_control", "": "memory.events"}
"""By controller: cgroup v1 has a hierarchy for memory alone, v2 one for all (docs.kernel.org/admin-guide)."""


class OomKills:
    """Kills in this process's control group, which is the container's, since it was made.

    Args:
        root: the file system's; another one in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before = self._count()

    @property
    def happened(self) -> bool | None:
        """None where nobody counts, as outside Linux."""
        now = self._count()
        return None if now is None or self._before is None else now > self._before

    def _count(self) -> int | None:
        try:
            groups = (self._root / "proc/self/cgroup").read_text().splitlines()
        except OSError:
            return None
        for group in groups:
            _, controllers, path = group.split(":", 2)
            mount = self._root / "sys/fs/cgroup" / controllers
            # Within a container the group itself may be what is mounted, while its path is that of the host.
            for directory in (mount / path.lstrip("/"), mount):
                counts = _read(directory / _FILES[controllers]) if controllers in _FILES else {}
                if _COUNTER in counts:
                    return counts[_COUNTER]
        return None


def _read(file: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) == 2}  # noqa: PLR2004
