"""The fault matrix, where everything of a run lies in a bucket: what S3 may do to a gang that trains."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.cluster import Cluster
from cluster.nodes import Nodes
from cluster.operator import Operator
from cluster.waiting import wait_for
from tools import storage_faults as faults
from tools.in_bucket import Bucket, BucketPlace, run_bucket
from tools.matrix import TRAINING, Fault, Site, befall, fault, last_step, row
from tools.on_nodes import SLOW, RealRun, same, training_alone
from tools.tcp_proxy import Fault as Spoiled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
FAULTS = [
    fault("S3 is down for 60 s", faults.down, "Succeeded"),
    fault("S3 is slow for 20 s", faults.slow, "Succeeded"),
    fault("S3 answers 500 for 20 s", faults.failing, "Succeeded"),
    fault("S3 does not answer for 20 s", faults.silent, "Succeeded"),
    fault("S3 answers 403 until it is mended", faults.denying, "StorageUnavailable", "Succeeded"),
    fault("the credentials are rotated", faults.rotate, "Succeeded"),
    fault("the credentials are revoked, then replaced", faults.revoke, "StorageUnavailable", "Succeeded"),
]


@pytest.fixture(scope="module")
def bucket(nodes: tuple[Cluster, Nodes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with run_bucket(nodes[0], tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module")
def place(
    nodes: tuple[Cluster, Nodes], operator: Operator, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> BucketPlace:
    assert operator.leading
    return BucketPlace(nodes[0], tmp_path_factory.mktemp("bucket-project"), bucket)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
def test_it_trains_again_and_ends_the_same(
    fault: Fault,
    nodes: tuple[Cluster, Nodes],
    operator: Operator,
    place: BucketPlace,
    undisturbed: RealRun,
) -> None:
    run = place.run(fault.run_name, training_alone, **fault.spec)
    befall(fault, Site(nodes[0], nodes[1], operator, run), undisturbed)
    assert faults.half_written(run) == []


def test_a_run_deleted_in_an_upload_leaves_nothing_half_written_and_is_made_again(
    place: BucketPlace, bucket: Bucket, undisturbed: RealRun
) -> None:
    """The upload takes longer than the grace period: the kubelet kills it in its midst."""
    policy = {"gracePeriodSeconds": 5, "backoffSeconds": 1}
    run = place.run("deleted-in-upload", training_alone, runPolicy=policy)
    run.apply()
    run.wait_for_step(TRAINING)
    with bucket.proxy.spoiled(Spoiled(pause=3)):
        run.delete()
        wait_for(lambda: not run.pods(), timeout=120, what="the end of the pods", state=run.pods)
    whole = run.checkpoints()
    assert faults.half_written(run) == []
    assert whole, "nothing was saved"
    run.apply()
    run.wait(lambda _: last_step(run, 1) > 0, "its steps", SLOW)
    run.wait_phase("Succeeded", SLOW)
    again = run.plugin("logs", "--stage", "train", "--attempt", "1")
    row("deleted in the midst of an upload, applied again", "Succeeded", "-", f"goes on after {whole[-1]}")
    assert f"goes on after step {whole[-1]}" in again
    same(run.trained(), undisturbed.trained())


def test_a_secret_that_is_missing_is_named_and_waited_for(
    place: BucketPlace, bucket: Bucket, undisturbed: RealRun
) -> None:
    run = place.run("secret-missing", training_alone, storage=place.storage(bucket.proxy.endpoint, "later"))
    run.apply()
    run.wait(lambda _: run.condition("Running").get("reason") == "SecretMissing", "SecretMissing", 30)
    told = run.condition("Running")["message"]
    assert "later" in told
    place.write_secret(place.user, "later")
    run.wait_phase("Succeeded", SLOW)
    row("a Secret is missing, then created", f"waits: {told}", "-", 0)
    assert [one["verdict"] for one in run.attempts("train")] == ["Succeeded"]
    same(run.trained(), undisturbed.trained())
