"""Models by hub name, through the hubs' own clients.

The tests have no network: a small server stands in for the hubs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
import torch
import yaml

from asrtune_api.errors import SpecInvalidError, StorageUnavailableError
from asrtune_api.finetune import ModelRef
from asrtune_trainer.models.hub import fetch_from_hub
from asrtune_trainer.models.load import load_model
from tools.ports import free_port

SERVICES = ("ModelScope", "HuggingFace")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    """As much of both hubs' API as a download of acme/tiny needs; all else is 404."""

    protocol_version = "HTTP/1.1"
    directory: Path
    requests: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.requests.append(self.path)
        files = sorted(path.name for path in self.directory.iterdir())
        name = query["FilePath"][0] if "FilePath" in query else url.path.rpartition("/")[2]
        if "acme/tiny" in url.path and name in files:
            self._send((self.directory / name).read_bytes())
        elif url.path.startswith("/api/models/acme/tiny/tree/"):
            sizes = {name: (self.directory / name).stat().st_size for name in files}
            tree = [{"type": "file", "path": name, "size": sizes[name], "oid": COMMIT} for name in files]
            self._send(json.dumps(tree).encode())
        elif url.path.startswith("/api/models/acme/tiny"):
            siblings = [{"rfilename": name} for name in files]
            self._send(json.dumps({"id": "acme/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif url.path == "/api/v1/models/acme/tiny/repo/files":
            listed = [self._modelscope(name) for name in files]
            self._send(json.dumps({"Code": 200, "Success": True, "Data": {"Files": listed}}).encode())
        else:
            self._send(b"{}", status=404)

    def _modelscope(self, name: str) -> dict[str, object]:
        data = (self.directory / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        return {
            "Name": name,
            "Path": name,
            "Type": "blob",
            "Size": len(data),
            "Sha256": digest,
            "Revision": COMMIT,
        }

    def _send(self, body: bytes, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(directories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """URL of the stand-in and the list of what it was asked."""
    handler = type("Handler", (_Hub,), {"directory": directories["ctc"], "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("service", SERVICES)
def test_a_model_is_fetched_once(
    service: str, hub: tuple[str, list[str]], directories: dict[str, Path], tmp_path: Path
) -> None:
    url, requests = hub
    ref = ModelRef.model_validate({"hub": "acme/tiny", "hubService": service})
    directory = fetch_from_hub(ref, tmp_path, endpoint=url)
    for path in directories["ctc"].iterdir():
        assert (directory / path.name).read_bytes() == path.read_bytes()
    assert load_model(directory, device=torch.device("cpu"), seed=0).family == "ctc"
    asked = len(requests)
    assert fetch_from_hub(ref, tmp_path, endpoint=url) == directory
    assert len(requests) == asked


@pytest.mark.parametrize("service", SERVICES)
def test_a_model_that_is_not_there(service: str, hub: tuple[str, list[str]], tmp_path: Path) -> None:
    ref = ModelRef.model_validate({"hub": "acme/nothing", "hubService": service, "revision": "v7"})
    with pytest.raises(SpecInvalidError, match="acme/nothing, revision v7") as caught:
        fetch_from_hub(ref, tmp_path, endpoint=hub[0])
    assert "hubService" in caught.value.remedy


@pytest.mark.parametrize("service", SERVICES)
def test_a_hub_that_cannot_be_reached(service: str, tmp_path: Path) -> None:
    ref = ModelRef.model_validate({"hub": "acme/tiny", "hubService": service})
    with pytest.raises(StorageUnavailableError, match=f"{service} cannot be reached") as caught:
        fetch_from_hub(ref, tmp_path, endpoint=f"http://127.0.0.1:{free_port()}")
    assert "uri" in caught.value.remedy


FETCH = """
import sys
from pathlib import Path
from asrtune_api.finetune import ModelRef
from asrtune_trainer.models.hub import fetch_from_hub
fetch_from_hub(ModelRef(hub="acme/tiny", hub_service=sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("service", SERVICES)
def test_the_mirrors_of_the_example_are_asked(
    service: str, hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    """In a process of its own, as the clients read the variables of examples/manifests/mirrors.yaml only once."""
    example = Path(__file__).parents[3] / "examples/manifests/mirrors.yaml"
    runtime = next(yaml.safe_load_all(example.read_text()))
    mirrors = {one["name"]: hub[0] for one in runtime["spec"]["pod"]["env"]}
    own = {"HF_HOME": str(tmp_path / "hf"), "MODELSCOPE_CACHE": str(tmp_path / "ms"), "HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", FETCH, service, str(tmp_path / "models")],
        env={**os.environ, **own, **mirrors},
        check=True,
    )
    assert list((tmp_path / "models").rglob("model.pt"))
    assert hub[1]
