"""Where the programs lie that build.sh builds or finds."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

_BUILD = Path(__file__).with_name("build.sh")
MANIFESTS = "manifests"


@cache
def _directories() -> dict[str, Path]:
    listing = subprocess.run([_BUILD, "--where"], check=True, stdout=subprocess.PIPE, text=True).stdout
    pairs = (line.split(" ", 1) for line in listing.splitlines())
    return {group: Path(directory) for group, directory in pairs}


def find(group: str, name: str) -> Path:
    """A file of one of build.sh's groups.

    Raises:
        FileNotFoundError: the group is not built; nothing is ever built from here, it would take minutes silently.
    """
    directory = _directories().get(group)
    if directory is None:
        raise FileNotFoundError(
            f"{name} is neither in $KUBEBUILDER_ASSETS nor on PATH nor built: run `make cluster` (minutes, once)"
        )
    return directory / name
