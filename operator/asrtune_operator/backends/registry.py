"""Which backends there are, and which one Auto means."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from asrtune_api.policy import Backend
from asrtune_operator.backends.base import GangBackend
from asrtune_operator.backends.job import JobBackend
from asrtune_operator.backends.jobset import JobSetBackend
from asrtune_operator.backends.pytorchjob import PyTorchJobBackend
from asrtune_operator.backends.trainjob import RUNTIME, TrainJobBackend
from asrtune_operator.values.kinds import Resource
from asrtune_operator.values.observed import Wait, WaitReason

BACKENDS: Final[Mapping[Backend, GangBackend]] = {
    one.backend: one for one in (JobBackend(), PyTorchJobBackend(), TrainJobBackend(), JobSetBackend())
}
_NEEDS: Final[Mapping[Backend, tuple[Resource, ...]]] = {
    Backend.JOB: (),
    Backend.PYTORCH_JOB: (BACKENDS[Backend.PYTORCH_JOB].resource,),
    Backend.TRAIN_JOB: (BACKENDS[Backend.TRAIN_JOB].resource, RUNTIME, BACKENDS[Backend.JOB_SET].resource),
    Backend.JOB_SET: (BACKENDS[Backend.JOB_SET].resource,),
}
CONTROLLER: Final[Mapping[Backend, str]] = {
    Backend.JOB: "kube-controller-manager",
    Backend.PYTORCH_JOB: "Kubeflow's training-operator",
    Backend.TRAIN_JOB: "Kubeflow Trainer",
    Backend.JOB_SET: "JobSet",
}


def choose(asked: Backend, nodes: int, served: Collection[Resource]) -> Backend:
    """What runs a gang.

    Auto takes a Job for one node: nothing else does it better, and every cluster has it. For more nodes it takes the
    first that is served of JobSet (which makes host names known itself, and which Kueue places as one gang),
    PyTorchJob, Job. TrainJob only when it is asked for: it is a JobSet by a detour.

    Args:
        asked: what the manifest or its runtime says.
        nodes: of the gang.
        served: kinds that the API server serves, as discovery tells them.
    """
    if asked is not Backend.AUTO:
        return asked
    if nodes == 1:
        return Backend.JOB
    better = (Backend.JOB_SET, Backend.PYTORCH_JOB)
    return next((one for one in better if not missing(one, served)), Backend.JOB)


def requirements(backend: Backend) -> tuple[Resource, ...]:
    """Kinds that a backend needs, besides those of every cluster."""
    return _NEEDS[backend]


def missing(backend: Backend, served: Collection[Resource]) -> tuple[Resource, ...]:
    """Kinds that a backend needs and the API server does not serve."""
    return tuple(one for one in _NEEDS[backend] if one not in served)


def unavailable(backend: Backend, served: Collection[Resource]) -> Wait | None:
    """Why a run has to wait for its backend; None when it has not to."""
    if not (absent := missing(backend, served)):
        return None
    kinds = ", ".join(f"{one.kind} ({one.api_version})" for one in absent)
    return Wait(
        WaitReason.BACKEND_UNAVAILABLE,
        f"The cluster does not know {kinds}, which backend {backend.value} needs: install {CONTROLLER[backend]}, "
        "or set execution.backend to Auto.",
    )
