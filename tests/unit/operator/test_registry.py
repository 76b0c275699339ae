"""Which backend a gang gets, and when it has to wait for one."""

import pytest

from asrtune_api.policy import Backend
from asrtune_operator.backends.registry import BACKENDS, choose, missing, unavailable
from asrtune_operator.backends.trainjob import RUNTIME
from asrtune_operator.values.kinds import Resource
from asrtune_operator.values.observed import WaitReason

JOB_SET, PYTORCH_JOB, TRAIN_JOB = (
    BACKENDS[one].resource for one in (Backend.JOB_SET, Backend.PYTORCH_JOB, Backend.TRAIN_JOB)
)
OTHER_VERSION = Resource("jobset.x-k8s.io", "v1", "jobsets", "JobSet")


@pytest.mark.parametrize(
    ("nodes", "served", "expected"),
    [
        (1, {JOB_SET, PYTORCH_JOB, TRAIN_JOB, RUNTIME}, Backend.JOB),
        (2, {JOB_SET, PYTORCH_JOB, TRAIN_JOB, RUNTIME}, Backend.JOB_SET),
        (2, {PYTORCH_JOB, TRAIN_JOB, RUNTIME}, Backend.PYTORCH_JOB),
        (2, {TRAIN_JOB, RUNTIME}, Backend.JOB),
        (2, {OTHER_VERSION}, Backend.JOB),
        (2, set(), Backend.JOB),
    ],
)
def test_auto_takes_the_best_that_is_there(nodes: int, served: set[Resource], expected: Backend) -> None:
    assert choose(Backend.AUTO, nodes, served) is expected
    assert unavailable(expected, served) is None


@pytest.mark.parametrize("asked", BACKENDS)
def test_what_is_asked_for_is_taken_even_if_it_is_not_there(asked: Backend) -> None:
    assert choose(asked, 1, set()) is asked


def test_a_run_waits_for_a_backend_that_is_not_there() -> None:
    wait = unavailable(Backend.PYTORCH_JOB, {JOB_SET})
    assert wait is not None
    assert wait.reason is WaitReason.BACKEND_UNAVAILABLE
    assert wait.message == (
        "The cluster does not know PyTorchJob (kubeflow.org/v1), which backend PyTorchJob needs: install "
        "Kubeflow's training-operator, or set execution.backend to Auto."
    )


def test_trainjob_needs_jobset_too() -> None:
    assert missing(Backend.TRAIN_JOB, {TRAIN_JOB, RUNTIME}) == (JOB_SET,)
    assert missing(Backend.TRAIN_JOB, {TRAIN_JOB, RUNTIME, JOB_SET}) == ()


def test_every_cluster_has_jobs() -> None:
    assert unavailable(Backend.JOB, set()) is None


def test_every_backend_is_there() -> None:
    assert set(BACKENDS) == set(Backend) - {Backend.AUTO}
