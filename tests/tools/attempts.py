"""One attempt at a unit on a test's cluster: what a backend renders, applied, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asrtune_api.policy import Backend
from asrtune_operator.backends.base import GangBackend
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.follow.observe import pod_view
from asrtune_operator.values.kinds import Manifest
from asrtune_operator.values.names import QUEUE_NAME, RUN_UID
from asrtune_operator.values.observed import PodView, WorkloadView
from asrtune_operator.values.run import Run
from cluster.client import ApiError, Client
from cluster.cluster import Cluster
from cluster.waiting import wait_for
from tools.gangs import S3, gang_run, unit_of
from tools.manifests import manifest

CONTROLLERS = {
    Backend.JOB: (),
    Backend.PYTORCH_JOB: ("training-operator",),
    Backend.TRAIN_JOB: ("trainer",),
    Backend.JOB_SET: ("jobset",),
}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass
class Attempt:
    """An attempt at Train."""

    api: Client
    backend: GangBackend
    namespace: str
    run: Run
    number: int
    manifests: list[Manifest]

    @property
    def uid(self) -> str:
        return self.run.identity.uid

    @property
    def name(self) -> str:
        name: str = self.manifests[-1]["metadata"]["name"]
        return name

    def apply(self) -> None:
        """Until it is done: Trainer's webhook refuses a TrainJob whose TrainingRuntime it has not heard of yet."""
        wait_for(self._applied, timeout=10, what=f"{self.name} to be admitted")

    def _applied(self) -> bool:
        try:
            self.api.apply(self.manifests, manager="asrtune")
        except ApiError as error:
            if "must be created before the TrainJob is created" not in str(error):
                raise
            print(f"refused: {error}")
            return False
        return True

    def next(self) -> Attempt:
        """The attempt after it; not applied."""
        return _attempt(self.api, self.backend, self.run, self.number + 1)

    def raw_pods(self) -> list[dict[str, Any]]:
        return self.api.list("pods", self.namespace, labels=f"{RUN_UID}={self.uid}")

    def pods(self) -> list[PodView]:
        """By rank."""
        return sorted(map(pod_view, self.raw_pods()), key=lambda pod: -1 if pod.rank is None else pod.rank)

    def view(self) -> WorkloadView:
        return self.backend.view(self.api.get(self.backend.resource.kind, self.name, self.namespace))

    def wait_for_pods(self, fits: Callable[[list[PodView]], bool], timeout: float = 30) -> list[PodView]:
        """The pods as soon as they are as wanted."""
        wait_for(lambda: fits(self.pods()), timeout=timeout, what=f"pods of {self.name}", state=self.pods)
        return self.pods()

    def wait_for_view(self, fits: Callable[[WorkloadView], bool], timeout: float = 30) -> WorkloadView:
        """The workload as soon as it is as wanted."""
        wait_for(lambda: fits(self.view()), timeout=timeout, what=self.name, state=self.view)
        return self.view()


class Attempts:
    """Makes attempts on a test's cluster, each in a new namespace that enforces the level `restricted`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._namespaces: list[str] = []

    def __call__(
        self,
        backend: Backend,
        *,
        nodes: int = 2,
        annotations: Mapping[str, str] | None = None,
        queue: str | None = None,
        suspended: bool = False,
        number: int = 1,
    ) -> Attempt:
        """An attempt at the training of a finetune; not applied.

        Args:
            backend: what runs it; its controllers are started where they are not.
            nodes: of the gang, with two GPUs each.
            annotations: of the pods: how kwok lets them end.
            queue: Kueue's.
            suspended: as if for a queue, but Kueue is not told.
            number: of the attempt.
        """
        self._cluster.controllers.start(*CONTROLLERS[backend])
        namespace = self._cluster.new_namespace(labels=RESTRICTED)
        self._namespaces.append(namespace)
        told = {"resources": {"nodes": nodes, "gpusPerNode": 2, "memory": "8Gi"}}
        owner = self._cluster.api.create(_owner(told, namespace))
        run = gang_run(
            told,
            backend=backend,
            runtime={"pod": {"annotations": dict(annotations or {})}},
            namespace=namespace,
            uid=owner["metadata"]["uid"],
            queue=queue or ("nobody" if suspended else None),
        )
        attempt = _attempt(self._cluster.api, BACKENDS[backend], run, number)
        if suspended:
            del attempt.manifests[-1]["metadata"]["labels"][QUEUE_NAME]
        return attempt

    def close(self) -> None:
        """Deletes the runs: the next test wants their GPUs."""
        for namespace in self._namespaces:
            self._cluster.api.delete("asrfinetunes", "demo", namespace)


def _attempt(api: Client, backend: GangBackend, run: Run, number: int) -> Attempt:
    manifests = list(backend.render(run, unit_of(run, "train"), number))
    return Attempt(api, backend, run.identity.namespace, run, number, manifests)


def _owner(changes: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    document = manifest(S3 | dict(changes))
    document["metadata"] = {"name": "demo", "namespace": namespace}
    return document
