"""How to reach the API server, and as whom: a kubeconfig file or a connection pool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from cluster.pki import Pair


@dataclass(frozen=True)
class Access:
    """Somebody's way to the API server.

    Attributes:
        server: its URL.
        authority: the PEM file of who signed its certificate.
        identity: a client certificate, or a service account's token.
    """

    server: str
    authority: Path
    identity: Pair | str

    def pool(self) -> urllib3.PoolManager:
        """Connections for any number of threads."""
        if isinstance(self.identity, str):
            headers = {"Authorization": f"Bearer {self.identity}"}
            return urllib3.PoolManager(16, headers, ca_certs=str(self.authority))
        return urllib3.PoolManager(
            16,
            ca_certs=str(self.authority),
            cert_file=str(self.identity.certificate),
            key_file=str(self.identity.key),
        )

    def write_kubeconfig(self, path: Path) -> Path:
        """Writes the kubeconfig (JSON is YAML) and returns its path."""
        cluster = {"server": self.server, "certificate-authority": str(self.authority)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": self._user()}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(document))
        return path

    def _user(self) -> dict[str, Any]:
        if isinstance(self.identity, str):
            return {"token": self.identity}
        return {"client-certificate": str(self.identity.certificate), "client-key": str(self.identity.key)}
