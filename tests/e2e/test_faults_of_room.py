"""The fault matrix: disks, shared memory and images that are not as a run needs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.nodes import Nodes
from cluster.operator import Operator
from tools.in_bucket import BucketPlace, run_bucket
from tools.matrix import Site, befall, fault, row, run_name
from tools.on_nodes import SLOW, USER, RealRun, Workplace, training_alone
from tools.project import Project
from tools.small_disk import SmallDisk, small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
FULL = "a disk is full until somebody makes room"


@pytest.fixture
def disk(nodes: tuple[Cluster, Nodes], workplace: Workplace, tmp_path: Path) -> Iterator[SmallDisk]:
    """Where a run of that name has its output."""
    path = workplace.disk / "runs" / run_name(FULL)
    with small_disk(nodes[1], path, tmp_path / "disk.img", mebibytes=64, owner=USER) as made:
        yield made


def test_a_full_disk_costs_a_retry_and_no_step(
    nodes: tuple[Cluster, Nodes],
    operator: Operator,
    workplace: Workplace,
    disk: SmallDisk,
    undisturbed: RealRun,
) -> None:
    said = []

    def fill(site: Site) -> None:
        disk.fill()
        site.run.wait(lambda _: site.run.attempts("train")[0].get("finishedAt"), "its end", SLOW)
        said.append(site.run.attempts("train")[0]["message"])
        disk.empty()

    full = fault(
        *(FULL, fill, "StorageUnavailable", "Succeeded"),
        runPolicy={"gracePeriodSeconds": 60, "backoffSeconds": 5},
    )
    run = workplace.run(full.run_name, training_alone, **full.spec)
    befall(full, Site(*nodes, operator, run), undisturbed)
    assert "the disk is full" in said[0]


def failed_at_once(run: RealRun, what: str, verdict: str, *words: str) -> None:
    """It fails after one attempt at Train, and says why."""
    run.apply()
    run.wait_phase("Failed", SLOW)
    failed = run.condition("Failed")
    row(what, failed["reason"], failed["message"])
    assert failed["reason"] == verdict
    assert [word for word in words if word not in failed["message"]] == []
    assert [one["verdict"] for one in run.status()["attempts"] if one["verdict"] != "Succeeded"] == [verdict]


def test_scratch_space_that_is_too_small_fails_at_once(
    nodes: tuple[Cluster, Nodes], operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The kubelet evicts the pod: were that an eviction like others, it would go on for ever."""
    with run_bucket(nodes[0], tmp_path_factory.mktemp("s3")) as bucket:
        place = BucketPlace(nodes[0], tmp_path_factory.mktemp("bucket-project"), bucket)
        reference = place.runtime("small", pod={"scratch": {"size": "1Mi"}})
        run = place.run("scratch-too-small", longest, runtimeRef=reference)
        failed_at_once(
            run, "scratch space is too small", "DiskLimitExceeded", "scratch", "1Mi", "spec.pod.scratch.size"
        )


def longest(project: Project) -> None:
    """The kubelet measures volumes every five seconds, and evicts every ten."""
    training_alone(project)
    project.stage("train").update(epochs=500)


def loading(project: Project) -> None:
    """Batches come from a worker process, by shared memory."""
    training_alone(project)
    project.stage("train").update(workers=1, featureCacheMiB=0)


def test_shared_memory_that_is_too_small_fails_at_once(operator: Operator, workplace: Workplace) -> None:
    resources = {"nodes": 2, "cpu": "500m", "memory": "3Gi", "sharedMemory": "64Ki"}
    run = workplace.run("shm-too-small", loading, resources=resources)
    failed_at_once(run, "/dev/shm is too small", "OutOfMemory", "/dev/shm")


def test_an_image_that_is_missing_is_named(operator: Operator, workplace: Workplace) -> None:
    image = "localhost/asrtune/missing:1"
    reference = workplace.runtime("no-image", image=image)
    policy: dict[str, Any] = {"startDeadlineSeconds": 20}
    run = workplace.run("image-missing", training_alone, runtimeRef=reference, runPolicy=policy)
    run.apply()
    run.wait(lambda _: run.condition("Running").get("reason") == "ImageUnavailable", "ImageUnavailable", 30)
    assert image in run.condition("Running")["message"]
    run.wait_phase("Failed")
    failed = run.condition("Failed")
    row("the image is missing", failed["reason"], failed["message"])
    assert failed["reason"] == "ImagePull"
    assert image in failed["message"]
