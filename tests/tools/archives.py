"""The archives that `make images` leaves: what an image says of itself, and what its layers weigh."""

from __future__ import annotations

import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = ROOT / "hack/images.sh"


@dataclass(frozen=True)
class Archive:
    """A built image.

    Attributes:
        path: of the archive.
        image: its name.
        config: user, environment, labels, command.
        layers: bytes of each, uncompressed, the base's first.
        made_by: the Containerfile's line behind each layer.
    """

    path: Path
    image: str
    config: dict[str, Any]
    layers: list[int]
    made_by: list[str]

    @property
    def user(self) -> int:
        """Whose processes its containers are."""
        return int(self.config["User"].partition(":")[0])

    @property
    def environment(self) -> dict[str, str]:
        return dict(one.split("=", 1) for one in self.config["Env"])

    @property
    def sbom(self) -> dict[str, Any]:
        """The SBOM beside it."""
        document: dict[str, Any] = json.loads(self.path.with_suffix(".cdx.json").read_text())
        return document


def built(name: str) -> Archive:
    """The image built from images/NAME.

    Raises:
        AssertionError: it is not there.
    """
    done = subprocess.run([SCRIPT, "--where", name], capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())
    assert path.exists(), f"there is no {path}: run `make images`"
    with tarfile.open(path) as archive:
        (manifest,) = _json(archive, "manifest.json")
        described = _json(archive, manifest["Config"])
        sizes = {member.name: member.size for member in archive}
        links = {member.name: member.linkname for member in archive if member.issym() or member.islnk()}
    layers = [sizes[links.get(name, name).removeprefix("../")] for name in manifest["Layers"]]
    made_by = [one.get("created_by", "") for one in described["history"] if not one.get("empty_layer")]
    return Archive(path, manifest["RepoTags"][0], described["config"], layers, made_by)


def _json(archive: tarfile.TarFile, name: str) -> Any:
    member = archive.extractfile(name)
    assert member is not None
    return json.load(member)
