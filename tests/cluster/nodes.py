"""Real nodes for a control plane: kubelets, containerd and runc on this machine, fake GPUs, and DNS for Services."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, TextIO

from cluster.binaries import find
from cluster.control_plane import ControlPlane
from cluster.image import IMAGE, write_image

HOST: Final = "10.250.0.1"
"""The machine itself as nodes and pods see it."""
_SCRIPT: Final = Path(__file__).with_name("nodes.sh")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_LOCK: Final = Path("/run/asrtune-nodes.lock")
GPU: Final = "nvidia.com/gpu"


class Nodes:
    """The real nodes of a control plane that has `HOST` as its address. One set a machine, and only as root.

    A pod sees what its image and its volumes have: host directories keep their paths inside the nodes, so that
    volumes of the type hostPath can give it the checkout and its environment (`image.machine_directories`).
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._root = plane.root / "nodes"
        self._lock: TextIO | None = None

    def start(self, count: int, *, gpus: int = 0) -> None:
        """Returns when all are Ready (about 5 s).

        Args:
            count: how many.
            gpus: fake ones of each.

        Raises:
            AssertionError: not root, or somebody else's nodes run on this machine.
        """
        assert os.geteuid() == 0, "real nodes need root: namespaces, mounts and cgroups of their own"
        lock = _LOCK.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise AssertionError("another test's real nodes run on this machine: only one set can") from None
        self._lock = lock  # nobody else's nodes are ever taken back
        _shell("remove")  # what a test left that was killed
        _shell("network")
        self._start_dns()
        for number in range(1, count + 1):
            self._start_node(number)
        _shell("route", str(count), *(self._home(number) for number in range(1, count + 1)))
        image = write_image(self._root / "image.tar")
        for number in range(1, count + 1):
            self.load(image, number)
            self._wait_until_ready(number)
            if gpus:
                self._start_gpus(number, gpus)

    def load(self, archive: Path, *numbers: int) -> None:
        """Gives these nodes the image of an archive, under the name that it has there; nothing is ever pulled."""
        for number in numbers:
            # Not by the transfer service: 15 s instead of 24 for 360 MB.
            done = self._ctr(number, "images", "import", "--local", archive)
            assert done.returncode == 0, done.stderr

    def copy_images(self, number: int, *others: int) -> None:
        """Gives nodes without pods all images of another one, as if all were made of one machine image.

        What is in images is linked, as nobody ever writes to it: that takes seconds, and no disk.
        """
        every = [self._plane.processes[f"containerd-node{one}"] for one in (number, *others)]
        for daemon in every:
            daemon.stop()  # their databases are files
        for other in others:
            _copy_linked(self._home(number) / "containerd/root", self._home(other) / "containerd/root")
        for daemon in every:
            daemon.start()
        for one in (number, *others):
            self._wait_for_containerd(one)
            self._wait_until_ready(one)

    def close(self) -> None:
        """Ends everything that runs on the nodes, and takes them back."""
        if self._lock is None:
            return
        for process in self._plane.processes:
            if process.name.startswith("kubelet-"):  # would start containers again
                process.kill()
        _shell("remove")
        self._lock.close()

    def processes_of(self, words: str) -> list[int]:
        """Process ids, on this machine, of the containers' processes with these words in their command line."""
        homes = (_CGROUPS / "pids/kube-cluster", _CGROUPS / "kube-cluster")  # of v1, and of v2
        files = (file for home in homes for file in home.rglob("cgroup.procs"))
        every = (int(pid) for file in files for pid in file.read_text().split())
        return sorted(pid for pid in every if words in _command_line(pid))

    def run_in_each(self, *command: str | Path) -> None:
        """Run a command with the mounts of each node."""
        for file in sorted(self._root.glob("node*/ns/mnt")):
            subprocess.run(["nsenter", f"--mount={file}", *command], check=True, capture_output=True)

    def _home(self, number: int) -> Path:
        return self._root / f"node{number}"

    def _start_node(self, number: int) -> None:
        home, name = self._home(number), f"node{number}"
        _shell("add", home, str(number))
        _write_network(home, number)
        (home / "containerd.toml").write_text(_containerd(home))
        pair = self._plane.authority.issue(
            name, user=f"system:node:{name}", group="system:nodes", hosts=(name, _address(number))
        )
        access = self._plane.access_of(pair, HOST)
        kubeconfig = access.write_kubeconfig(home / "kubeconfig")
        kubelet = _kubelet(home, number) | {
            "tlsCertFile": str(pair.certificate),
            "tlsPrivateKeyFile": str(pair.key),
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(access.authority)},
            },
        }
        (home / "kubelet.yaml").write_text(json.dumps(kubelet))  # JSON is YAML
        environment = {
            "PATH": f"{find('containerd', 'containerd').parent}:{os.environ['PATH']}"
        }  # for its shim
        self._run_in(
            number,
            "containerd",
            find("containerd", "containerd"),
            "-c",
            home / "containerd.toml",
            **environment,
        )
        self._wait_for_containerd(number)
        self._run_in(
            number,
            "kubelet",
            *(find("node", "kubelet"), f"--config={home / 'kubelet.yaml'}", f"--kubeconfig={kubeconfig}"),
            *(
                f"--root-dir={home / 'kubelet'}",
                f"--hostname-override={name}",
                f"--node-ip={_address(number)}",
            ),
        )

    def _start_gpus(self, number: int, gpus: int) -> None:
        self._run_in(number, "fakegpu", find("node", "fakegpu"), "-count", str(gpus))
        self._plane.api.wait(
            "nodes", f"node{number}", lambda node: node["status"]["allocatable"].get(GPU) == str(gpus)
        )

    def _run_in(self, number: int, kind: str, *command: str | Path, **environment: str) -> None:
        """Starts a program inside a node; its files and processes are this machine's."""
        held = self._home(number) / "ns"
        enter = ("nsenter", f"--mount={held / 'mnt'}", f"--net={held / 'net'}")
        self._plane.processes.start(f"{kind}-node{number}", [*enter, *command], environment)

    def _wait_for_containerd(self, number: int) -> None:
        self._plane.processes.wait_until_ready(
            f"containerd-node{number}", lambda: self._ctr(number, "version").returncode == 0
        )

    def _wait_until_ready(self, number: int) -> None:
        def ready() -> bool:
            node = self._plane.api.find("nodes", f"node{number}")
            return node is not None and self._plane.api.condition(node, "Ready").get("status") == "True"

        self._plane.processes.wait_until_ready(f"kubelet-node{number}", ready)

    def _ctr(self, number: int, *command: str | Path) -> subprocess.CompletedProcess[str]:
        ctr = [find("containerd", "ctr"), "-a", self._home(number) / "c.sock", "-n", "k8s.io", *command]
        return subprocess.run(ctr, capture_output=True, text=True, check=False)

    def _start_dns(self) -> None:
        pair = self._plane.authority.issue("dns", user="dns", group="system:masters")
        kubeconfig = self._plane.access_of(pair).write_kubeconfig(self._plane.root / "dns.kubeconfig")
        lines = [f"bind {HOST}", "errors", f"kubernetes cluster.local {{\nkubeconfig {kubeconfig}\nttl 1\n}}"]
        corefile = self._plane.root / "Corefile"
        corefile.write_text(".:53 {\n" + "\n".join(lines) + "\n}\n")
        self._plane.processes.start("dns", [find("coredns", "coredns"), "-conf", corefile])


def _shell(*arguments: str | Path) -> None:
    done = subprocess.run([_SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"nodes.sh {' '.join(map(str, arguments))}: {done.stderr}"


def _copy_linked(source: Path, target: Path) -> None:
    """Copies containerd's directory: blobs and layers as hard links, databases as files of their own."""
    shutil.rmtree(target)
    subprocess.run(["cp", "--archive", "--link", source, target], check=True)
    for database in target.glob("*/*.db"):
        database.unlink()
        shutil.copy2(source / database.relative_to(target), database)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""  # it has just ended


def _address(number: int) -> str:
    return f"10.250.0.{10 + number}"


def _write_network(home: Path, number: int) -> None:
    """Pods get 10.244.NUMBER.0/24, and are reached from everywhere by routes."""
    ipam = {
        "type": "host-local",
        "dataDir": str(home / "cni/data"),
        "ranges": [[{"subnet": f"10.244.{number}.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "mtu": 1400,
        "ipam": ipam,
    }
    network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}
    directory = home / "cni/net.d"
    directory.mkdir(parents=True)
    (directory / "10-bridge.conflist").write_text(json.dumps(network))


def _containerd(home: Path) -> str:
    runtime = "plugins.'io.containerd.cri.v1.runtime'"
    return f"""
version = 3
root = "{home}/containerd/root"
state = "{home}/containerd/state"
[grpc]
address = "{home}/c.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{IMAGE}"
[{runtime}]
restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE a negative oom_score_adj is refused and no sandbox starts
[{runtime}.containerd]
default_runtime_name = "runc"
[{runtime}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{runtime}.containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "{find("distribution", "runc")}"
[{runtime}.cni]
bin_dir = "{find("distribution", "cni")}"
conf_dir = "{home}/cni/net.d"
"""


def _kubelet(home: Path, number: int) -> dict[str, Any]:
    (home / "manifests").mkdir()
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{home}/c.sock",
        "imageServiceEndpoint": f"unix://{home}/c.sock",
        "address": "0.0.0.0",  # in the node's own network
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authorization": {"mode": "AlwaysAllow"},
        "staticPodPath": str(home / "manifests"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/kube-cluster/node{number}",
        "failSwapOn": False,
        "resolvConf": "/etc/resolv.conf",
        "clusterDomain": "cluster.local",
        "clusterDNS": [HOST],
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "5s",  # a changed Secret is in the pods after so long; by default a minute
        "volumeStatsAggPeriod": "5s",  # and so is a volume that has grown
        "nodeLeaseDurationSeconds": 12,
        "imageGCHighThresholdPercent": 100,  # images cannot be pulled again
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "maxOpenFiles": 20000,
        "serializeImagePulls": False,
    }
