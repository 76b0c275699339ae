"""A finetune that Prometheus watches from before its first pod to after its last, and a small fleet around it.

All of it is real but the nodes and the GPUs: kwok's nodes have no kubelet, so each pod's command runs as a process of
this machine, on the pod's port, and what came of it is told to the API server in the kubelet's place. In the place of
NVIDIA's exporter a server says what it would.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from cluster.client import Json
from cluster.cluster import Cluster, run_cluster
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools.boards import chosen
from tools.helm import CHART, Helm, of_kind
from tools.on_s3 import put_on_s3
from tools.operated import PATIENCE, Runs
from tools.pods import Pod, start_pod
from tools.ports import free_port
from tools.project import make_project
from tools.prometheus import Prometheus, fixed, pods_of, service_of
from tools.versitygw import run_versitygw

NAME: Final = "tiny"
OPERATOR: Final = [
    *("--progress-seconds", "0.5", "--status-seconds", "1"),
    *("--discovery-seconds", "5", "--resync-seconds", "20"),
]
UTILISATION: Final = 'DCGM_FI_DEV_GPU_UTIL{{gpu="0",namespace="{namespace}",pod="{pod}"}} 87\n'


@dataclass(frozen=True)
class Watched:
    """What there is to look at. Times are unix seconds.

    Attributes:
        prometheus: has seen it all.
        namespace: of the run.
        name: of the run.
        begun: before its first pod.
        ended: when its pods, and the series that they exported, were gone.
        pod_metrics: what the last pod said at /metrics before its end.
        operator_metrics: what the operator says at the end.
    """

    prometheus: Prometheus
    namespace: str
    name: str
    begun: float
    ended: float
    pod_metrics: str
    operator_metrics: str

    @property
    def variables(self) -> dict[str, str]:
        """What a reader of the dashboards has chosen."""
        return chosen(self.namespace, self.name, self.ended - self.begun)


@contextlib.contextmanager
def watched(root: Path, *, epochs: int = 6) -> Iterator[Watched]:
    """A run of all stages that is evicted in its training, beside others that wait, fail and succeed.

    Args:
        root: an empty directory.
        epochs: of its training.
    """
    for name in ("s3", "project", "cluster", "helm"):
        (root / name).mkdir()
    with run_versitygw(root / "s3") as storage, run_cluster(root / "cluster", nodes=2) as cluster:
        project = make_project(root / "project", family="paraformer")
        project.stage("train").update(epochs=epochs)
        # Some seconds of Export, in which Prometheus sees what Evaluate has found.
        project.stage("export").update(verifyUtterances=1)
        project.spec["checkpoint"] = {"everySteps": 10}
        storage.client().create_bucket(Bucket="speech")
        environment = put_on_s3(project, storage, "speech")
        operator = Operator(cluster, options=OPERATOR)
        operator.start()
        stage = _Stage(cluster, operator, Runs(cluster, cluster.new_namespace("speech")), root, environment)
        with stage.exporter():
            yield stage.play(project.spec)


class _Stage:
    """Where it happens, and who does what."""

    def __init__(
        self, cluster: Cluster, operator: Operator, runs: Runs, root: Path, environment: dict[str, str]
    ) -> None:
        self.cluster = cluster
        self.operator = operator
        self.runs = runs
        self.root = root
        self.environment = environment
        self.port = free_port()
        self.exporter_port = free_port()
        self.utilisation = ""

    def play(self, spec: Json) -> Watched:
        """The whole course."""
        prometheus = self._prometheus()
        begun = time.time()
        self._others()
        self._runtime("own", {"fake/manual": "true"}, telemetry={"port": self.port})
        self._create(spec)
        first = self._begin(1)
        self._wait_checkpoint()
        first.process.send_signal(signal.SIGSTOP)
        time.sleep(3)  # what is lost counts in whole seconds
        first.kill()
        self.cluster.kubelet.evict(self._pod(1))
        second = self._begin(2)
        self._forbid_statuses()
        pod_metrics = self._until_end(second)
        self.cluster.kubelet.end(self._pod(2), second.wait(), second.log.read_text())
        self.runs.wait_end(NAME)
        time.sleep(3)  # a scrape that finds the pod gone, and one of the operator's last word
        return Watched(
            prometheus=prometheus,
            namespace=self.runs.namespace,
            name=NAME,
            begun=begun,
            ended=time.time(),
            pod_metrics=pod_metrics,
            operator_metrics=self.operator.get("/metrics")[1],
        )

    def _prometheus(self) -> Prometheus:
        chart = Helm(self.root / "helm").template(
            CHART, "--set", "monitoring.podMonitor.enabled=true,monitoring.serviceMonitor.enabled=true"
        )
        ((pods,), (service,)) = (of_kind(chart, kind) for kind in ("PodMonitor", "ServiceMonitor"))
        scrape = [
            pods_of(dict(pods), self.cluster.kubeconfig),
            service_of(dict(service), f"127.0.0.1:{self.operator.port}"),
            fixed("dcgm-exporter", f"127.0.0.1:{self.exporter_port}", honor_labels=True),
        ]
        return Prometheus(self.cluster.processes, self.root / "prometheus", scrape)

    def _others(self) -> None:
        """Runs on kwok's pods: one waits for GPUs that no node has, one fails, one succeeds."""
        self._runtime("brief", {"fake/run-for": "2s"})
        self._runtime("spoiled", {"fake/run-for": "1s", "fake/exit-code": "65"})
        brief, spoiled = (
            {"runtimeRef": {"name": name, "kind": "ASRRuntime"}} for name in ("brief", "spoiled")
        )
        self.runs.start("done", brief | {"resources": {"gpusPerNode": 2}})
        self.runs.start("broken", spoiled)
        self.runs.start("too-big", brief | {"startAt": "train", "resources": {"gpusPerNode": 64}})

    def _runtime(self, name: str, annotations: dict[str, str], **spec: Any) -> None:
        self.cluster.api.apply(
            {
                "apiVersion": "asrtune.dev/v1alpha1",
                "kind": "ASRRuntime",
                "metadata": {"name": name, "namespace": self.runs.namespace},
                "spec": {"gpuPricePerHour": "2.10", "pod": {"annotations": annotations}, **spec},
            }
        )

    def _create(self, spec: Json) -> None:
        own = {
            "runtimeRef": {"name": "own", "kind": "ASRRuntime"},
            "execution": {"pods": "Shared"},
            "resources": {"gpusPerNode": 1},
            "runPolicy": {"backoffSeconds": 1},
        }
        metadata = {"name": NAME, "namespace": self.runs.namespace}
        kind = {"apiVersion": "asrtune.dev/v1alpha1", "kind": "ASRFinetune"}
        self.cluster.api.create({**kind, "metadata": metadata, "spec": spec | own})

    def _pod(self, attempt: int) -> Json:
        def scheduled() -> Json | None:
            labels = f"asrtune.dev/run={NAME},asrtune.dev/attempt={attempt}"
            found = self.cluster.api.list("pods", self.runs.namespace, labels=labels)
            return next((one for one in found if one["spec"].get("nodeName")), None)

        return wait_for(scheduled, timeout=PATIENCE, what=f"the pod of attempt {attempt}")

    def _begin(self, attempt: int) -> Pod:
        """The pod's own command; the pod runs when it answers."""
        pod = self._pod(attempt)
        name = pod["metadata"]["labels"]["asrtune.dev/run-spec"]
        document = json.loads(
            self.cluster.api.get("configmaps", name, self.runs.namespace)["data"]["run.json"]
        )
        document["gang"]["gpusPerNode"] = 0  # this machine may have none
        run = self.root / f"run-{attempt}.json"
        run.write_text(json.dumps(document))
        given = [
            one.replace("$(ASRTUNE_ATTEMPT)", str(attempt)) for one in pod["spec"]["containers"][0]["args"]
        ]
        arguments = [one for one in given if not re.match("--(workdir|termination-log)=", one)]
        started = start_pod(run, self.root / f"pod-{attempt}", *arguments, environment=self.environment)
        wait_for(lambda: self._answers(started), timeout=PATIENCE, what=f"the trainer of attempt {attempt}")
        self.cluster.kubelet.run(pod)
        self.utilisation = UTILISATION.format(**pod["metadata"] | {"pod": pod["metadata"]["name"]})
        return started

    def _answers(self, pod: Pod) -> bool:
        assert pod.process.poll() is None, pod.process.communicate()
        try:
            return bool(self._metrics())
        except OSError:
            return False

    def _metrics(self) -> str:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def _wait_checkpoint(self) -> None:
        """Until the operator knows of one."""

        def known() -> bool:
            progress = self.runs.get(NAME).get("status", {}).get("progress", {})
            return bool(progress.get("checkpointAt"))

        wait_for(known, timeout=PATIENCE, what="a checkpoint", every=0.2)

    def _until_end(self, pod: Pod) -> str:
        """What it says at /metrics when it says it last."""
        last = ""
        while pod.process.poll() is None:
            with contextlib.suppress(OSError):
                last = self._metrics()
            time.sleep(0.1)
        return last

    def _forbid_statuses(self) -> None:
        """For some moments the operator may not write any: the errors are real."""
        api, role = self.cluster.api, "asrtune-operator"
        rules: list[Json] = api.get("clusterroles", role)["rules"]
        less = [one for one in rules if "asrfinetunes/status" not in one["resources"]]
        api.patch("clusterroles", role, {"rules": less})
        counted = "asrtune_operator_reconcile_errors_total{"
        wait_for(lambda: counted in self.operator.get("/metrics")[1], timeout=PATIENCE, what="an error")
        api.patch("clusterroles", role, {"rules": rules})

    @contextlib.contextmanager
    def exporter(self) -> Iterator[None]:
        """In the place of NVIDIA's exporter, which needs a GPU."""
        stage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(stage.utilisation.encode())

            def log_message(self, *_: Any) -> None:
                """Not a word."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.exporter_port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
