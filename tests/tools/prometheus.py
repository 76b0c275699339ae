"""A real Prometheus that scrapes what the chart's monitors select, as the Prometheus Operator would have it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.binaries import find
from cluster.client import Json
from cluster.process import Processes
from tools.ports import free_port

Labels = dict[str, str]


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and (unix time, value) for each moment that has one."""

    labels: Labels
    points: Sequence[tuple[float, float]]


class Prometheus:
    """A server with its data in a directory.

    Attributes:
        url: its address.
    """

    def __init__(
        self, processes: Processes, root: Path, scrape: Sequence[Json], *, interval: str = "1s"
    ) -> None:
        """Starts it, and returns when it answers.

        Args:
            processes: end it.
            root: an empty directory.
            scrape: its scrape_configs.
            interval: between two scrapes of a target.
        """
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        root.mkdir(parents=True, exist_ok=True)
        config = root / "prometheus.yml"
        whole = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [*scrape],
        }
        config.write_text(yaml.safe_dump(whole, sort_keys=False))
        command: list[str | Path] = [
            *(
                find("prometheus", "prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={root / 'data'}",
            ),
            *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
        ]
        processes.start("prometheus", command)
        processes.wait_until_ready("prometheus", self._ready)

    def at(self, expression: str, moment: float) -> list[Series]:
        """An expression at one moment, unix seconds."""
        found = self._ask("query", query=expression, time=moment)["result"]
        return [Series(one["metric"], [_point(one["value"])]) for one in found]

    def between(self, expression: str, begin: float, end: float, step: float = 1.0) -> list[Series]:
        """An expression at each step of a time, unix seconds."""
        found = self._ask("query_range", query=expression, start=begin, end=end, step=step)["result"]
        return [Series(one["metric"], [_point(pair) for pair in one["values"]]) for one in found]

    def values(self, label: str, series: str = "") -> list[str]:
        """Values of a label, of all series or of some."""
        query = {"match[]": series} if series else {}
        found: list[str] = self._ask(f"label/{label}/values", **query)
        return found

    def targets(self) -> list[Json]:
        """What is scraped now."""
        found: list[Json] = self._ask("targets", state="active")["activeTargets"]
        return found

    def _ask(self, path: str, **query: str | float) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query.get('query', path)}: {json.load(error).get('error')}") from error

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def pods_of(monitor: Json, kubeconfig: Path) -> Json:
    """What the Prometheus Operator makes of a PodMonitor with one endpoint."""
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    rules = [
        _keep(f"pod_labelpresent_{_plain(one['key'])}", "true")
        for one in monitor["spec"]["selector"]["matchExpressions"]
        if one["operator"] == "Exists"
    ]
    assert rules, "only matchExpressions with Exists are understood here"
    named = {"namespace": "namespace", "pod": "pod_name", "container": "pod_container_name"}
    return {
        "job_name": monitor["metadata"]["name"],
        "honor_labels": endpoint.get("honorLabels", False),
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
        "relabel_configs": [
            *rules,
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Failed|Succeeded", "action": "drop"},
            _keep("pod_container_port_name", endpoint["port"]),
            *_named(named),
            *(_snake(one) for one in endpoint.get("relabelings", [])),
        ],
    }


def endpoints_of(monitor: Json, kubeconfig: Path) -> Json:
    """What it makes of a ServiceMonitor with one endpoint and no namespaceSelector: the pods behind the Service."""
    (endpoint,) = monitor["spec"]["endpoints"]
    labels = monitor["spec"]["selector"]["matchLabels"]
    discovery = {
        "role": "endpointslice",
        "kubeconfig_file": str(kubeconfig),
        "namespaces": {"names": [monitor["metadata"]["namespace"]]},
    }
    named = {"namespace": "namespace", "service": "service_name", "pod": "pod_name"}
    return {
        "job_name": monitor["metadata"]["name"],
        "honor_labels": endpoint.get("honorLabels", False),
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            *(_keep(f"service_label_{_plain(key)}", re.escape(value)) for key, value in labels.items()),
            _keep("endpointslice_port_name", endpoint["port"]),
            *_named(named),
        ],
    }


def service_of(monitor: Json, *addresses: str) -> Json:
    """What it makes of a ServiceMonitor with one endpoint; the addresses are told, not discovered."""
    (endpoint,) = monitor["spec"]["endpoints"]
    return fixed(monitor["metadata"]["name"], *addresses, honor_labels=endpoint.get("honorLabels", False))


def fixed(job: str, *addresses: str, honor_labels: bool = False) -> Json:
    """Targets whose addresses are known."""
    return {"job_name": job, "honor_labels": honor_labels, "static_configs": [{"targets": [*addresses]}]}


def _keep(what: str, value: str) -> Json:
    return {"source_labels": [f"__meta_kubernetes_{what}"], "regex": value, "action": "keep"}


def _named(sources: Mapping[str, str]) -> list[Json]:
    """Labels of the series by what is known of their target."""
    return [
        {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": label}
        for label, source in sources.items()
    ]


def _plain(label: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)


def _snake(rule: Mapping[str, Any]) -> Json:
    return {re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in rule.items()}


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
