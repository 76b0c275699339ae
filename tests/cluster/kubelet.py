"""A test that plays the kubelet: it says what happened to a fake pod."""

from __future__ import annotations

import datetime as dt
import zlib
from typing import Any

from cluster.client import Client, Json

_READY = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")


class Kubelet:
    """Patches pods' status through the API, as a kubelet does. Every method takes a pod and returns it as it then is.

    Pods on kwok's nodes run by themselves; one with the annotation `fake/manual: "true"` waits for `run`.
    """

    def __init__(self, api: Client) -> None:
        self._api = api

    def run(self, pod: Json) -> Json:
        """Its containers run, and it is Ready."""
        number = zlib.crc32(pod["metadata"]["uid"].encode())
        address = pod["status"].get("podIP") or f"127.254.{number >> 8 & 255}.{number % 254 + 1}"
        state = {"running": {"startedAt": _now()}}
        return self._patch(
            pod,
            phase="Running",
            startTime=pod["status"].get("startTime") or _now(),
            hostIP="127.0.0.1",
            hostIPs=[{"ip": "127.0.0.1"}],
            podIP=address,
            podIPs=[{"ip": address}],
            conditions=_conditions(pod, *(_condition(kind, "True") for kind in _READY)),
            containerStatuses=_containers(pod, state=state, ready=True),
        )

    def end(self, pod: Json, exit_code: int, message: str = "", reason: str = "") -> Json:
        """Its containers ended. The restart policy decides whether the pod did, or starts them again.

        Args:
            pod: it runs.
            exit_code: of every container.
            message: what stood in /dev/termination-log.
            reason: Completed or Error where not given; OOMKilled for example.
        """
        ended = _terminated(pod, exit_code, message, reason or ("Error" if exit_code else "Completed"))
        policy = pod["spec"]["restartPolicy"]
        if policy == "Always" or (policy == "OnFailure" and exit_code):
            return self._restart(pod, ended)
        return self._patch(
            pod,
            phase="Failed" if exit_code else "Succeeded",
            conditions=_conditions(pod, *_not_ready("PodFailed" if exit_code else "PodCompleted")),
            containerStatuses=_containers(pod, state={"terminated": ended}),
        )

    def waiting(self, pod: Json, reason: str, message: str = "") -> Json:
        """Its containers wait: ErrImagePull, ImagePullBackOff, CreateContainerConfigError, ContainerCreating..."""
        state = {"waiting": {"reason": reason, "message": message}}
        return self._patch(
            pod,
            phase="Pending",
            startTime=pod["status"].get("startTime") or _now(),
            conditions=_conditions(pod, *_not_ready("ContainersNotReady")),
            containerStatuses=_containers(pod, state=state),
        )

    def evict(self, pod: Json, message: str = "The node was low on resource: memory.") -> Json:
        """The kubelet evicts it because its node runs short of something."""
        disrupted = _condition("DisruptionTarget", "True", "TerminationByKubelet", message)
        ended = _terminated(pod, 137, "", "Error")
        return self._patch(
            pod,
            phase="Failed",
            reason="Evicted",
            message=message,
            conditions=_conditions(pod, disrupted, *_not_ready("PodFailed")),
            containerStatuses=_containers(pod, state={"terminated": ended}),
        )

    def _restart(self, pod: Json, ended: Json) -> Json:
        state = {"running": {"startedAt": _now()}}
        statuses = _containers(pod, state=state, lastState={"terminated": ended}, ready=True)
        for status in statuses:
            status["restartCount"] += 1
        return self._patch(pod, containerStatuses=statuses)

    def _patch(self, pod: Json, **status: Any) -> Json:
        metadata = pod["metadata"]
        return self._api.patch_status("pods", metadata["name"], status, metadata["namespace"])


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": _now(),
    }


def _not_ready(reason: str) -> tuple[Json, Json]:
    return _condition("ContainersReady", "False", reason), _condition("Ready", "False", reason)


def _conditions(pod: Json, *new: Json) -> list[Json]:
    """The pod's conditions with the new ones in the place of their types; a merge patch replaces the list."""
    types = {one["type"] for one in new}
    return [one for one in pod["status"].get("conditions", []) if one["type"] not in types] + list(new)


def _terminated(pod: Json, exit_code: int, message: str, reason: str) -> Json:
    since = pod["status"].get("startTime") or _now()
    return {
        "exitCode": exit_code,
        "reason": reason,
        "message": message,
        "startedAt": since,
        "finishedAt": _now(),
    }


def _containers(pod: Json, *, ready: bool = False, **state: Json) -> list[Json]:
    """The status of each container; counts of restarts are kept."""
    restarts = {one["name"]: one["restartCount"] for one in pod["status"].get("containerStatuses", [])}
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "started": ready,
            "restartCount": restarts.get(container["name"], 0),
            **state,
        }
        for container in pod["spec"]["containers"]
    ]
