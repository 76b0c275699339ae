"""A controller's own manifests, changed so that it can run as a process outside the cluster.

Dropped are the Deployment, what stands behind Services, and objects of monitoring. Webhooks, also those that convert
CRDs, go to loopback instead of a Service; an empty webhook Secret gets our certificates, so that a built-in certificate
rotator finds nothing to do.
"""

from __future__ import annotations

import base64
from collections.abc import Container
from pathlib import Path
from typing import Any

import yaml

from cluster.pki import Pair

_DROPPED = {"Deployment", "APIService", "Service", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"}


def adapted(
    manifests: Path, *, port: int, authority: Pair, serving: Pair, unused: Container[str]
) -> list[dict[str, Any]]:
    """The objects to apply.

    Args:
        manifests: the YAML file that the controller's project installs.
        port: where its webhooks are served on 127.0.0.1.
        authority: signed `serving`.
        serving: the webhooks' certificate.
        unused: plurals whose CRDs and webhooks are left out.
    """
    bundle = _base64(authority.certificate)
    documents = [one for one in yaml.load_all(manifests.read_text(), Loader=yaml.CSafeLoader) if one]
    kept = [
        one
        for one in documents
        if one["kind"] not in _DROPPED and one["metadata"]["name"].partition(".")[0] not in unused
    ]
    for document in kept:
        if webhooks := document.get("webhooks"):
            document["webhooks"] = [one for one in webhooks if one["rules"][0]["resources"][0] not in unused]
        for client in _webhook_clients(document):
            service = client.pop("service")
            client.update(url=f"https://127.0.0.1:{port}{service['path']}", caBundle=bundle)
        if document["kind"] == "Secret" and "webhook" in document["metadata"]["name"]:
            document["data"] = {
                "ca.crt": bundle,
                "ca.key": _base64(authority.key),
                "tls.crt": _base64(serving.certificate),
                "tls.key": _base64(serving.key),
            }
    return kept


def webhook_urls(documents: list[dict[str, Any]]) -> list[str]:
    """Where the API server will call the controller to admit objects.

    Not where it would call it to convert them: JobSet names such a place, and serves nothing there.
    """
    return [webhook["clientConfig"]["url"] for one in documents for webhook in one.get("webhooks") or []]


def _webhook_clients(document: dict[str, Any]) -> list[dict[str, Any]]:
    clients = [webhook["clientConfig"] for webhook in document.get("webhooks") or []]
    if document["kind"] == "CustomResourceDefinition":
        conversion = document["spec"].get("conversion", {})
        if conversion.get("strategy") == "Webhook":
            clients.append(conversion["webhook"]["clientConfig"])
    return clients


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
