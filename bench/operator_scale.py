"""How the operator does with many runs at once: reaction, memory, processor time, requests, on a real control plane.

    python bench/operator_scale.py [--runs 100 300 1000] [--rate 1.5]

A fresh etcd, API server, controller-manager, scheduler and kwok for each size, the operator as a process with the
rights that we ship. The runs are created by four clients, so many a second; without --rate as fast as the API server
takes them, which then shows how long a backlog takes: the control plane needs more of the machine than the operator.
Each run is a chain of a CPU stage (2 s), a gang of two pods (20 s), and a CPU stage (2 s). Reaction: from the answer to
a run's creation until its first Job arrives at another client's watch. Prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from urllib3.exceptions import ProtocolError

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cluster.cluster import Cluster, run_cluster
from cluster.operator import Operator
from tools.gangs import S3
from tools.manifests import chain, manifest

RUN_NAME = "asrtune.dev/run"
CREATORS = 4
STAGES = [
    {"name": "prepare", "type": "Prepare"},
    {"name": "train", "type": "Train"},
    {"name": "publish", "type": "Publish"},
]
RUNTIME = {
    "apiVersion": "asrtune.dev/v1alpha1",
    "kind": "ClusterASRRuntime",
    "metadata": {"name": "default"},
    "spec": {"pod": {"annotations": {"fake/run-for": "2s", "fake/train.run-for": "20s"}}},
}


@dataclass
class Result:
    """Of one size."""

    runs: int
    create_seconds: float
    reactions: list[float]
    whole_seconds: float
    rss_mib: float
    cpu_seconds: float
    requests: float
    by_verb: dict[str, float]


def finetune(number: int) -> dict[str, Any]:
    document = manifest(chain(stages=STAGES) | S3 | {"output.uri": f"s3://speech/runs/{number}"})
    document["metadata"] = {"name": f"run-{number}", "namespace": "default"}
    document["spec"]["resources"] = {"nodes": 2, "gpusPerNode": 4}
    document["spec"]["execution"] = {"backend": "Job"}
    return document


class Watch(threading.Thread):
    """When each run's first Job was seen by somebody else than the operator."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        access = cluster.api.access
        self._pool, self._server = access.pool(), access.server
        self.seen: dict[str, float] = {}

    def run(self) -> None:
        query = f"watch=1&labelSelector={RUN_NAME}&timeoutSeconds=3000"
        answer = self._pool.request(
            "GET", f"{self._server}/apis/batch/v1/jobs?{query}", preload_content=False, timeout=3000
        )
        rest = b""
        with contextlib.suppress(ProtocolError):  # the cluster has ended
            for chunk in answer.stream(1 << 16):
                now = time.monotonic()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    name = json.loads(line)["object"]["metadata"]["labels"][RUN_NAME]
                    self.seen.setdefault(name, now)


def measure(runs: int, rate: float) -> Result:
    with tempfile.TemporaryDirectory() as folder, run_cluster(Path(folder), nodes=0) as cluster:
        cluster.kwok.start()
        cluster.kwok.add_nodes(math.ceil(runs * 2 / 200) + 4, gpus=1024, cpus=4096, memory="64Ti")
        cluster.api.apply(RUNTIME)
        operator = Operator(cluster, options=["--lease-seconds", "30"])
        process = operator.start()
        watch = Watch(cluster)
        watch.start()
        time.sleep(1)
        before = process.cpu_seconds
        started = time.monotonic()
        created: dict[str, float] = {}

        def create(number: int) -> None:
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            cluster.api.create(finetune(number))
            created[f"run-{number}"] = time.monotonic()

        with ThreadPoolExecutor(CREATORS) as pool:
            list(pool.map(create, range(runs)))
        create_seconds = time.monotonic() - started
        wait_until_done(cluster, runs)
        whole = time.monotonic() - started
        by_verb = requests(operator)
        return Result(
            runs,
            create_seconds,
            sorted(watch.seen[name] - at for name, at in created.items()),
            whole,
            process.peak_rss_mib,
            process.cpu_seconds - before,
            sum(by_verb.values()),
            by_verb,
        )


def wait_until_done(cluster: Cluster, runs: int) -> None:
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline:
        phases = [one.get("status", {}).get("phase") for one in cluster.api.list("asrfinetunes")]
        if phases.count("Succeeded") == runs:
            return
        failed = [phase for phase in phases if phase == "Failed"]
        if failed:
            raise SystemExit(f"{len(failed)} runs failed")
        time.sleep(5)
    raise SystemExit("the runs did not end in time")


def requests(operator: Operator) -> dict[str, float]:
    """Requests to the API server by verb and kind, watches of kopf not counted."""
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("asrtune_operator_api_request_seconds_count{"):
            labels, value = line.split("{")[1].split("} ")
            parts = dict(pair.split("=") for pair in labels.replace('"', "").split(","))
            key = f"{parts['verb']} {parts['resource']}"
            found[key] = found.get(key, 0) + float(value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--rate", type=float, default=math.inf, help="runs created a second")
    options = parser.parse_args()
    table = Table(
        "runs", "created in", "reaction p50", "p95", "max", "all done in", "peak RSS", "CPU", "requests a run"
    )
    results = [measure(runs, options.rate) for runs in options.runs]
    for one in results:
        cuts = statistics.quantiles(one.reactions, n=20)
        table.add_row(
            str(one.runs),
            f"{one.create_seconds:.1f} s",
            f"{statistics.median(one.reactions):.2f} s",
            f"{cuts[-1]:.2f} s",
            f"{one.reactions[-1]:.2f} s",
            f"{one.whole_seconds:.0f} s",
            f"{one.rss_mib:.0f} MiB",
            f"{one.cpu_seconds:.1f} s",
            f"{one.requests / one.runs:.1f}",
        )
    console = Console(width=130)
    console.print(table)
    most = sorted(results[-1].by_verb.items(), key=lambda pair: -pair[1])[:8]
    console.print("requests of the largest: " + ", ".join(f"{key} {value:.0f}" for key, value in most))


if __name__ == "__main__":
    main()
