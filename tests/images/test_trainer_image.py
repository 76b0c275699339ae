"""The trainer in pods made of its image alone: the whole chain, disturbed once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from cluster.cluster import Cluster
from tools.archives import Archive
from tools.inside import CACHES, Inside
from tools.on_nodes import RESTRICTED as RESTRICTED_NAMESPACE
from tools.on_nodes import Workplace
from tools.operator_pod import RESTRICTED
from tools.project import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
SLOW = 600.0
"""Seconds for a whole chain: each of its processes loads PyTorch, on a machine that may have two cores."""


@pytest.fixture(scope="module")
def inside(cluster: Cluster, trainer_image: Archive) -> Iterator[Inside]:
    """A pod of the image that waits to be looked at."""
    namespace = cluster.new_namespace("looked-at", RESTRICTED_NAMESPACE)
    container = {
        "name": "trainer",
        "image": trainer_image.image,
        "command": ["sleep", "infinity"],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "env": [{"name": "HOME", "value": "/scratch"}],
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 0,
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trainer", "namespace": namespace},
        "spec": spec,
    }
    cluster.api.create(pod)
    cluster.api.wait("pods", "trainer", lambda one: one["status"]["phase"] == "Running", namespace)
    yield Inside(cluster, namespace, "trainer")
    cluster.api.delete("pods", "trainer", namespace)


def test_command_knows_its_version(inside: Inside) -> None:
    assert inside.run("asrtune", "--version") == f"asrtune {version('asrtune')}"


def test_what_trains_is_what_the_lock_pins(inside: Inside) -> None:
    script = "import torch, funasr; print(torch.__version__, torch.version.cuda, funasr.__version__)"
    torch_version, cuda, funasr_version = inside.python(script).splitlines()[-1].split()
    assert torch_version.partition("+")[0] == version("torch")
    assert funasr_version == version("funasr")
    assert cuda != "None", "PyTorch without CUDA"
    libraries = (
        "import ctypes; [ctypes.CDLL(f'libibverbs.so.1'), ctypes.CDLL('libmlx5.so.1')]; print('there')"
    )
    assert inside.python(libraries) == "there"


def test_cuda_libraries_load_without_a_gpu(inside: Inside) -> None:
    script = "import torch; print(torch.backends.cudnn.version(), torch.cuda.nccl.version(), torch.cuda.is_available())"
    cudnn, *_, available = inside.python(script).split()
    assert int(cudnn) > 90000
    assert available == "False"


def test_it_holds_no_tools_for_an_intruder(inside: Inside) -> None:
    assert inside.run("id", "-u") == "65532"
    assert inside.compilers() == []
    assert inside.changes_users() == []
    assert inside.left_behind(CACHES) == []
    assert set(inside.writable_by_all()) <= {"/tmp", "/var/tmp", "/run/lock"}
    assert inside.run("sh", "-c", "command -v asrtune-operator || echo no operator") == "no operator"


def longer(project: Project) -> None:
    """Training that can be disturbed: 150 steps."""
    project.stage("train").update(epochs=50)


def test_whole_chain_of_a_gang_suspended_and_resumed(workplace: Workplace) -> None:
    run = workplace.run("demo", longer)
    started = time.monotonic()
    run.apply()
    run.wait_for_step(3)
    print(f"\nkubectl apply -> step 3 seen {time.monotonic() - started:.0f} s")
    gang = run.pods("train")
    assert len(gang) == 2
    assert {pod["spec"]["securityContext"].get("runAsUser") for pod in gang} == {None}
    asked = time.monotonic()
    run.suspend(suspended=True)
    run.wait(lambda status: status["phase"] == "Suspended" and not run.pods("train"), "the end of the pods")
    print(f"suspend -> pods gone {time.monotonic() - asked:.1f} s")
    assert run.attempts("train")[-1]["verdict"] == "Suspended"
    saved = run.checkpoints()[-1]
    run.suspend(suspended=False)
    run.wait_phase("Succeeded", SLOW)
    print(f"kubectl apply -> Complete {time.monotonic() - started:.0f} s")
    assert f"goes on after step {saved}" in run.plugin("logs", "--stage", "train", "--attempt", "2")
    assert (run.output / "model/configuration.json").is_file()
    assert run.status()["bestCer"]["percent"]
