"""The image of pods on real nodes: next to nothing. Programs come from the machine by read-only volumes."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

from cluster.binaries import find

IMAGE: Final = "localhost/asrtune/machine:1"
ROOT: Final = Path(__file__).parents[2]
_INDEX: Final = "application/vnd.oci.image"


def machine_directories() -> list[Path]:
    """What a container needs of this machine, read-only at the same paths, to run this checkout's programs."""
    found = [Path("/usr"), ROOT]
    base = Path(sys.base_prefix)
    return found if base.is_relative_to("/usr") else [*found, base]


def write_image(path: Path) -> Path:
    """Writes an OCI archive: busybox, links into /usr, and the environment's programs on the PATH.

    Without a command its containers sleep, as those that hold a pod's namespaces must.
    """
    layer = _layer()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": ["/busybox", "sleep", "2147483647"],
            "Env": [f"PATH={ROOT}/.venv/bin:/usr/bin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs = {_digest(layer): layer}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_INDEX}.manifest.v1+json",
        "config": _descriptor(blobs, "config.v1+json", config),
        "layers": [{"mediaType": f"{_INDEX}.layer.v1.tar", "digest": _digest(layer), "size": len(layer)}],
    }
    named = {
        **_descriptor(blobs, "manifest.v1+json", manifest),
        "annotations": {"io.containerd.image.name": IMAGE},
    }
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode())
        for digest, blob in blobs.items():
            _add(archive, f"blobs/{digest.replace(':', '/')}", blob)
    return path


def _layer() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        _add(layer, "busybox", find("distribution", "busybox").read_bytes(), mode=0o755)
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            layer.addfile(link)
    return content.getvalue()


def _descriptor(blobs: dict[str, bytes], kind: str, document: dict[str, Any]) -> dict[str, Any]:
    blob = json.dumps(document).encode()
    blobs[_digest(blob)] = blob
    return {"mediaType": f"{_INDEX}.{kind}", "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))
