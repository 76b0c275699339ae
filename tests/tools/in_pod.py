"""A command that finds the files of a ServiceAccount where a pod has them, without a pod."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

_NAMESPACE = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
_MOUNT = """
mount -t tmpfs tmpfs /var/run
mkdir -p /var/run/secrets/kubernetes.io
cp -r "$0" /var/run/secrets/kubernetes.io/serviceaccount
exec "$@"
"""


@dataclass(frozen=True)
class InPod:
    """
    Attributes:
        prefix: goes before the command.
        environment: what a pod has besides.
    """

    prefix: Sequence[str]
    environment: dict[str, str]


def in_a_pod(kubeconfig: Path, namespace: str, directory: Path) -> InPod:
    """What the kubeconfig of a service account becomes; its files are written to `directory`.

    Skips the test where this user may not make mounts of their own.
    """
    if subprocess.run([*_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode:
        pytest.skip("no mounts of one's own on this machine")
    given = yaml.safe_load(kubeconfig.read_text())
    cluster = given["clusters"][0]["cluster"]
    files = {
        "ca.crt": Path(cluster["certificate-authority"]).read_bytes(),
        "namespace": namespace.encode(),
        "token": given["users"][0]["user"]["token"].encode(),
    }
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    server = urlsplit(cluster["server"])
    environment = {
        "KUBECONFIG": "",
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }
    return InPod([*_NAMESPACE, "sh", "-ec", _MOUNT, str(directory)], environment)
