"""A real kube-apiserver over a real etcd, on loopback, for as long as a block lasts."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.ports import free_port

TOKEN = "test-token"


def missing_binaries() -> str:
    """Why no API server can be started here; empty when one can."""
    missing = [name for name in ("etcd", "kube-apiserver", "openssl") if binary(name) is None]
    return f"{', '.join(missing)}: neither in $KUBEBUILDER_ASSETS nor on the PATH" if missing else ""


def binary(name: str) -> str | None:
    """Path of a Kubernetes program, as envtest looks for it."""
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    return shutil.which(name, path=f"{assets}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class ApiServer:
    """A running API server and its owner's token."""

    port: int
    tls: ssl.SSLContext
    kubeconfig: Path

    def request(self, method: str, path: str, body: Any = None, *, kind: str = "json") -> tuple[int, Any]:
        """Status and JSON answer of a request."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": f"application/{kind}"},
        )
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def kubectl(self, *arguments: str) -> str:
        """Output of kubectl, where there is one."""
        program = binary("kubectl")
        assert program
        command = [program, "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def run_apiserver(root: Path) -> Iterator[ApiServer]:
    """Start etcd and kube-apiserver with their files in an empty directory; both end with the block."""
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    new_key = ["openssl", "genpkey", "-algorithm", "RSA"]
    subprocess.run([*new_key, "-out", root / "accounts.key"], check=True, capture_output=True)
    (root / "tokens.csv").write_text(f'{TOKEN},tester,tester,"system:masters"\n')
    etcd = [
        *(binary("etcd"), "--data-dir", root / "etcd", "--unsafe-no-fsync", "--log-level=error"),
        *("--listen-client-urls", f"http://127.0.0.1:{etcd_port}"),
        *("--advertise-client-urls", f"http://127.0.0.1:{etcd_port}"),
        *("--listen-peer-urls", f"http://127.0.0.1:{peer_port}"),
    ]
    apiserver = [
        *(binary("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{etcd_port}"),
        *(f"--secure-port={port}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"),
        *(f"--cert-dir={root}", f"--token-auth-file={root / 'tokens.csv'}", "--authorization-mode=RBAC"),
        *(
            "--service-account-issuer=https://localhost",
            f"--service-account-key-file={root / 'accounts.key'}",
        ),
        *(f"--service-account-signing-key-file={root / 'accounts.key'}", "--endpoint-reconciler-type=none"),
        *("--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount"),
    ]
    with _process(etcd, root / "etcd.log"), _process(apiserver, root / "apiserver.log") as process:
        server = ApiServer(port, ssl._create_unverified_context(), root / "kubeconfig")
        server.kubeconfig.write_text(json.dumps(_kubeconfig(port)))
        _wait_until_ready(server, process, root / "apiserver.log")
        yield server


def _wait_until_ready(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            status, _ = server.request("GET", "/api/v1/namespaces/default")
        except OSError:
            status = 0
        if status == 200:
            return
        time.sleep(0.1)
    raise AssertionError(f"kube-apiserver did not become ready:\n{log.read_text()[-3000:]}")


@contextmanager
def _process(command: list[Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()  # it waits a minute for open watches


def _kubeconfig(port: int) -> dict[str, Any]:
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
