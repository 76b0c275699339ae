"""The fault matrix: clocks that are hours off. What runs in pods is deceived (wrong_clock.c), the kubelet is not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import cluster
from cluster.cluster import Cluster
from cluster.image import machine_directories
from cluster.nodes import Nodes
from cluster.operator import Operator
from tools.faults import kill_first_process
from tools.in_bucket import BucketPlace, run_bucket
from tools.matrix import Site, befall, fault, row
from tools.on_nodes import SLOW, RealRun, Workplace, training_alone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is preloaded, in a directory that pods get; needs a C compiler."""
    made = tmp_path_factory.mktemp("clock") / "wrong_clock.so"
    made.parent.chmod(0o755)
    source = Path(cluster.__file__).with_name("wrong_clock.c")
    subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


def wrong(library: Path, hours: int) -> dict[str, Any]:
    """A runtime's pods, so many hours ahead of everybody else."""
    variables = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(hours * 3600), "OMP_NUM_THREADS": "1"}
    return {"env": [{"name": name, "value": value} for name, value in variables.items()]}


def programs(library: Path) -> list[Path]:
    return [*machine_directories(), library.parent]


@pytest.mark.parametrize("hours", [-3, 3])
def test_they_train_the_same(
    nodes: tuple[Cluster, Nodes],
    operator: Operator,
    undisturbed: RealRun,
    library: Path,
    tmp_path_factory: pytest.TempPathFactory,
    hours: int,
) -> None:
    """Killed once, too: what it says of the age of its checkpoints must harm nobody."""
    place = Workplace(nodes[0], tmp_path_factory.mktemp("clocks"), programs=programs(library))
    reference = place.runtime("wrong-clock", pod=wrong(library, hours))
    name = f"clocks are {hours:+d} h off, and a pod is killed"
    off = fault(name, kill_first_process, "InternalError", "Succeeded", runtimeRef=reference)
    run = place.run(off.run_name, training_alone, **off.spec)
    befall(off, Site(*nodes, operator, run), undisturbed)


def test_a_bucket_refuses_them_and_the_clock_is_named(
    nodes: tuple[Cluster, Nodes],
    operator: Operator,
    library: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """S3 takes no signature that is more than 15 minutes old."""
    with run_bucket(nodes[0], tmp_path_factory.mktemp("s3")) as bucket:
        directory = tmp_path_factory.mktemp("bucket-project")
        place = BucketPlace(nodes[0], directory, bucket, programs=programs(library))
        reference = place.runtime("wrong-clock", pod=wrong(library, 3))
        policy = {"maxRetries": 1, "backoffSeconds": 1}
        run = place.run("wrong-clock", training_alone, runtimeRef=reference, runPolicy=policy)
        run.apply()
        run.wait_phase("Failed", SLOW)
    failed = run.condition("Failed")
    row("clocks are +3 h off, with S3", failed["reason"], failed["message"])
    assert failed["reason"] == "StorageUnavailable"
    assert "clock is wrong" in failed["message"]
