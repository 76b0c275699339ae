"""What goes wrong with a run's bucket, done for real to a gang that trains."""

from __future__ import annotations

import time
from typing import Final

from asrtune_trainer.train.checkpoint import verify
from cluster.waiting import wait_for
from tools.in_bucket import Bucket, BucketPlace
from tools.matrix import Site
from tools.on_nodes import SLOW, RealRun
from tools.tcp_proxy import Fault

DOWN_SECONDS: Final = 60
_ACCESS: Final = "/etc/asrtune/credentials/AWS_ACCESS_KEY_ID"


def place_of(run: RealRun) -> BucketPlace:
    """The run's workplace, which has a bucket."""
    assert isinstance(run.place, BucketPlace)
    return run.place


def bucket_of(site: Site) -> Bucket:
    return place_of(site.run).bucket


def down(site: Site) -> None:
    """The server is gone for a minute."""
    bucket = bucket_of(site)
    bucket.process.kill()
    time.sleep(DOWN_SECONDS)
    bucket.back()


def slow(site: Site) -> None:
    """For twenty seconds each packet waits a fifth of a second."""
    with bucket_of(site).proxy.spoiled(Fault(pause=0.2)):
        time.sleep(20)


def failing(site: Site) -> None:
    """For twenty seconds every request is answered with 500."""
    with bucket_of(site).proxy.spoiled(Fault(status=500)):
        time.sleep(20)


def silent(site: Site) -> None:
    """For twenty seconds requests are taken and not answered."""
    with bucket_of(site).proxy.spoiled(Fault(silent=True)):
        time.sleep(20)


def denying(site: Site) -> None:
    """Every request is answered with 403 until the attempt has ended of it."""
    with bucket_of(site).proxy.spoiled(Fault(status=403)):
        _wait_for_end(site.run)


def rotate(site: Site) -> None:
    """A new user's keys are put into the Secret; the old user goes when every pod has them."""
    place, bucket = place_of(site.run), bucket_of(site)
    old, new = place.user.access_key, bucket.add_user("rotated", "rotated-secret")
    place.write_secret(new)
    wait_for(lambda: _keys(site) == {new.access_key}, timeout=120, what="the new keys in every pod", every=1)
    bucket.remove_user(old)


def revoke(site: Site) -> None:
    """The keys that the pods have are void; new ones are put into the Secret when that has ended the attempt."""
    place, bucket = place_of(site.run), bucket_of(site)
    bucket.remove_user(place.user.access_key)
    _wait_for_end(site.run)
    place.write_secret(bucket.add_user("fresh", "fresh-secret"))


def half_written(run: RealRun) -> list[str]:
    """Checkpoints that a reader would take for complete, and that are not."""
    saved = (run.output / "stages/train/checkpoints").glob("step-*/manifest.json")
    return [path.parent.name for path in saved if verify(path.parent) is None]


def _wait_for_end(run: RealRun) -> None:
    run.wait(lambda _: run.attempts("train")[0].get("finishedAt"), "the end of the attempt", SLOW)


def _keys(site: Site) -> set[str]:
    """The access keys that the pods of the gang have now."""
    kubectl = site.cluster.plane.kubectl
    pods = [one["metadata"]["name"] for one in site.run.pods("train")]
    return {kubectl("exec", "-n", site.run.place.namespace, pod, "--", "cat", _ACCESS) for pod in pods}
