"""The telephone demo on a cluster: its files in a bucket, and its manifest with what is said otherwise there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from cluster.client import Json
from tools.versitygw import S3Server

DEMO: Final = Path(__file__).parents[2] / "examples/telephone-demo"
BUCKET: Final = "speech"
OUTPUT: Final = "runs/telephone-demo"
"""Below the bucket."""
SECRET: Final = "speech-s3"
GATE: Final[Json] = {
    "criteria": [
        {"set": "telephone", "maxIncreasePercent": "-28", "confident": True},
        {"set": "wideband", "maxIncreasePercent": "5", "confident": True},
    ]
}
"""By the worse ends of the differences' intervals. Of three seeds with two processes these were -33.8, -34.9, -34.5 and
+2.7, +3.2, +3.6: luck with a seed decides nothing, and neither half the gain nor a spoiled old domain would pass."""


def upload(server: S3Server) -> None:
    """Base model, lists and recordings, as they lie in the checkout."""
    client = server.client()
    client.create_bucket(Bucket=BUCKET)
    for path in (*(DEMO / "base").rglob("*"), *(DEMO / "data").rglob("*")):
        if path.is_file():
            client.upload_file(str(path), BUCKET, path.relative_to(DEMO).as_posix())


def credentials(server: S3Server, namespace: str) -> Json:
    """The Secret that the run names."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace},
        "stringData": {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key},
    }


def finetune(server: S3Server) -> Json:
    """The demo's own manifest and recipe, with everything in the bucket, a gang of two nodes, and a gate."""
    document: Json = yaml.safe_load((DEMO / "finetune.yaml").read_text())
    spec: dict[str, Any] = document["spec"]
    for one in (spec["model"], *(source for sources in spec["data"].values() for source in sources)):
        one["uri"] = f"s3://{BUCKET}/{one['uri']}"
    document["spec"] |= {
        "output": {"uri": f"s3://{BUCKET}/{OUTPUT}"},
        "storage": {"endpoint": server.endpoint, "secretRef": {"name": SECRET}},
        "resources": {"nodes": 2},
        "execution": {"topology": {"spreadOverHosts": True}},
        "qualityGate": GATE,
    }
    return document
