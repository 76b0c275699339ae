"""What a client really asked of the API server, from the server's own audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import yaml

from cluster.client import Json
from cluster.cluster import Cluster


class Right(NamedTuple):
    """One verb on one kind of object."""

    group: str
    resource: str
    verb: str


def enable_audit(cluster: Cluster, user: str) -> Path:
    """Let the API server write down each request of a user from now on (it restarts). Returns the log's path."""
    policy, log = cluster.plane.root / "audit.yaml", cluster.plane.root / "log" / "audit.log"
    rules = [{"level": "Metadata", "users": [user]}, {"level": "None"}]
    about = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
    policy.write_text(yaml.safe_dump(about | {"rules": rules}))
    server = cluster.processes["apiserver"]
    server.command += [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]
    cluster.plane.restart("apiserver", kill=True)
    return log


def used(log: Path) -> set[Right]:
    """The rights that were needed for what was allowed."""
    whole = log.read_text().rpartition("\n")[0]  # the server may be writing
    return {right for line in whole.splitlines() for right in _rights(json.loads(line))}


def _rights(entry: Json) -> set[Right]:
    about, code = entry.get("objectRef"), entry.get("responseStatus", {}).get("code", 0)
    if not about or not about.get("resource") or code == 403:
        return set()
    resource = "/".join(filter(None, (about["resource"], about.get("subresource", ""))))
    right = Right(about.get("apiGroup", ""), resource, entry["verb"])
    # A server-side apply that makes an object is a patch that needs the right to create, too.
    return {right, right._replace(verb="create")} if entry["verb"] == "patch" and code == 201 else {right}


def granted(documents: list[Json]) -> set[Right]:
    """Every right that Roles and ClusterRoles give."""
    return {
        Right(group, resource, verb)
        for document in documents
        if document["kind"] in {"Role", "ClusterRole"}
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
