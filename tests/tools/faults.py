"""What goes wrong on a cluster, done for real to a run with pods on real nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from cluster.waiting import wait_for
from tools.matrix import Site

WORKER = "asrtune_trainer.train.worker"


def workers(site: Site) -> list[int]:
    """Process ids of the gang's training processes."""
    return site.nodes.processes_of(WORKER)


def kill_worker(site: Site) -> None:
    os.kill(workers(site)[-1], signal.SIGKILL)


def hang_worker(site: Site) -> None:
    os.kill(workers(site)[-1], signal.SIGSTOP)


def kill_first_process(site: Site) -> None:
    init, *_ = site.nodes.processes_of("execute /etc/asrtune/run/run.json --start-at=train")
    os.kill(init, signal.SIGKILL)


def drain(site: Site) -> None:
    pod = site.run.pods("train")[-1]
    site.cluster.api.evict(pod["metadata"]["name"], site.run.place.namespace)


def delete_pod(site: Site) -> None:
    pod = site.run.pods("train")[0]
    site.cluster.api.delete("pods", pod["metadata"]["name"], site.run.place.namespace)


def delete_job(site: Site) -> None:
    for job in site.cluster.api.list("jobs", site.run.place.namespace):
        if job["metadata"]["labels"].get("asrtune.dev/stage") == "train":
            site.cluster.api.delete("jobs", job["metadata"]["name"], site.run.place.namespace)


def kill_kubelet(site: Site) -> None:
    """For so long that its node is NotReady meanwhile."""
    kubelet = site.cluster.processes["kubelet-node2"]
    kubelet.kill()
    wait_for(lambda: not ready(site, "node2"), timeout=60, what="node2 to be NotReady", every=0.5)
    kubelet.start()


def cut_network(site: Site) -> None:
    """Of a node, for twenty seconds."""
    link("vk2", "down")
    time.sleep(20)
    link("vk2", "up")


def lose_node(site: Site) -> None:
    """Its kubelet and its pods go at once, as by a power cut, and it comes back when it has been noticed."""
    kubelet = site.cluster.processes["kubelet-node2"]
    kubelet.kill()
    link("vk2", "down")
    wait_for(lambda: not ready(site, "node2"), timeout=60, what="node2 to be NotReady", every=0.5)
    for pid in site.nodes.processes_of("execute /etc/asrtune/run/run.json"):
        if on_node(pid, 2):
            os.kill(pid, signal.SIGKILL)
    link("vk2", "up")
    kubelet.start()


def replace_operator(site: Site) -> None:
    process = site.cluster.processes[site.operator.name]
    process.kill()
    time.sleep(5)
    process.start()


def restart_api_server(site: Site) -> None:
    site.cluster.plane.restart("apiserver", kill=True)


def slow_etcd(site: Site) -> None:
    """It does not answer for eight seconds."""
    etcd = site.cluster.processes["etcd"]
    etcd.freeze()
    time.sleep(8)
    etcd.thaw()


def spoil_checkpoint(site: Site) -> None:
    """The newest checkpoint loses its end, as on a disk that lies; then the gang is killed."""
    saved = wait_for(lambda: site.run.checkpoints()[1:], timeout=60, what="two checkpoints")
    pids = workers(site)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    newest = site.run.output / f"stages/train/checkpoints/step-{saved[-1]}"
    largest = max(newest.rglob("*.pt"), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def ready(site: Site, node: str) -> bool:
    return bool(site.cluster.api.condition(site.cluster.api.get("nodes", node), "Ready")["status"] == "True")


def link(name: str, state: str) -> None:
    subprocess.run(["ip", "link", "set", name, state], check=True)


def on_node(pid: int, number: int) -> bool:
    """Whether a process belongs to a node, by its control group."""
    try:
        return f"/node{number}/" in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
