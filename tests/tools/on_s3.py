"""A project whose every input and output lies on an S3 server."""

from __future__ import annotations

import shutil

from tools.project import Project
from tools.versitygw import S3Server


def put_on_s3(project: Project, server: S3Server, bucket: str) -> dict[str, str]:
    """Move everything that the project reads to the bucket, and its output too.

    Returns:
        the environment that gives access.
    """
    client = server.client()
    for path in project.root.rglob("*"):
        if path.is_file() and path.name != "finetune.yaml":
            client.upload_file(str(path), bucket, path.relative_to(project.root).as_posix())
    for name in ("base", "audio"):
        shutil.rmtree(project.root / name)
    spec = project.spec
    spec["model"] = {"uri": f"s3://{bucket}/base"}
    for source in (*spec["data"]["train"], *spec["data"]["validation"], *spec["data"]["test"]):
        (project.root / source["uri"]).unlink()
        source["uri"] = f"s3://{bucket}/{source['uri']}"
    spec["output"] = {"uri": f"s3://{bucket}/runs/one"}
    spec["storage"] = {"endpoint": server.endpoint, "region": "us-east-1"}
    project.write()
    return {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
