"""What is mounted into the container of a unit."""

from __future__ import annotations

from typing import Any

from asrtune_api.policy import VolumeClaim
from asrtune_operator.render.resources import shared_memory
from asrtune_operator.values.places import CREDENTIALS_DIR, RUN_DIR, SCRATCH_DIR
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

Json = dict[str, Any]


def volumes(run: Run, unit: Unit) -> tuple[list[Json], list[Json]]:
    """The pod's volumes, and where its container has them.

    Nothing is mounted twice at one path: a run's claim goes over its runtime's, and both over the pod's own /tmp and
    scratch space.
    """
    by_path: dict[str, tuple[Json, Json]] = {}
    for volume, mount in (*_own(run, unit), *_claims(run)):
        by_path[mount["mountPath"]] = (volume, mount)
    return [volume for volume, _ in by_path.values()], [mount for _, mount in by_path.values()]


def _own(run: Run, unit: Unit) -> list[tuple[Json, Json]]:
    pairs = [
        ({"name": "run", "configMap": {"name": run.spec_name}}, _mount("run", RUN_DIR, read_only=True)),
        ({"name": "tmp", "emptyDir": {}}, _mount("tmp", "/tmp")),  # noqa: S108 (a mount of the pod's own)
        ({"name": "scratch", **_scratch(run)}, _mount("scratch", SCRATCH_DIR)),
    ]
    if run.secret is not None:
        volume = {"name": "credentials", "secret": {"secretName": run.secret}}
        pairs.append((volume, _mount("credentials", CREDENTIALS_DIR, read_only=True)))
    if (shm := shared_memory(run, unit)) is not None:
        pairs.append(({"name": "shm", "emptyDir": shm}, _mount("shm", "/dev/shm")))  # noqa: S108 (as above)
    return pairs


def _scratch(run: Run) -> Json:
    scratch = run.runtime.pod.scratch
    if scratch.storage_class_name is None:
        return {"emptyDir": {"sizeLimit": scratch.size} if scratch.size else {}}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": scratch.storage_class_name,
        "resources": {"requests": {"storage": scratch.size}},
    }
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def _claims(run: Run) -> list[tuple[Json, Json]]:
    """Numbered: a run and its runtime may give two volumes the same name, and ours have names, too."""
    every = (*run.runtime.pod.volumes, *run.volumes)
    return [_claim(f"claim-{number}", claim) for number, claim in enumerate(every)]


def _claim(name: str, claim: VolumeClaim) -> tuple[Json, Json]:
    source = {"claimName": claim.claim, **({"readOnly": True} if claim.read_only else {})}
    mount = _mount(name, claim.mount_path, read_only=claim.read_only)
    return (
        {"name": name, "persistentVolumeClaim": source},
        {**mount, **({"subPath": claim.sub_path} if claim.sub_path else {})},
    )


def _mount(name: str, path: str, *, read_only: bool = False) -> Json:
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
