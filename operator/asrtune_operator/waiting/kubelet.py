"""What the kubelet says of a pod that has a node and does not run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from asrtune_operator.values.observed import PodView, Wait, WaitReason
from asrtune_operator.waiting.facts import EventView, Evidence, Wanted
from asrtune_operator.waiting.images import REASONS, image_wait

_VOLUMES: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
_SANDBOX: Final = frozenset({"FailedCreatePodSandBox", "NetworkNotReady", "FailedCreatePodContainer"})
_PLAIN: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_SECRET: Final = re.compile(r'secret "(?P<name>[^"]+)" not found')
_CONFIG_MAP: Final = re.compile(r'configmap "(?P<name>[^"]+)" not found')
_NO_KEY: Final = re.compile(
    r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) [^/]+/(?P<name>\S+)"
)
_NO_KEY_MOUNTED: Final = re.compile(r"references non-existent (?P<kind>secret|config) key: (?P<key>\S+)")
_VOLUME: Final = re.compile(r'volume "([^"]+)"')
_UNMOUNTED: Final = re.compile(r"unmounted volumes=\[([^\]]+)\]")
_OUTPUT: Final = re.compile(r"Output: (?:mount: \S+: )?(.+?)(?:\n|$)")


def on_node(pod: PodView, wanted: Wanted, evidence: Evidence) -> Wait:
    """Why a pod that has a node does not run."""
    init_reason, _, init_message = pod.init_waiting.partition(": ")
    if init_reason and init_reason not in _PLAIN:
        return _container(init_reason, init_message, pod, wanted, evidence)
    reason = pod.container.waiting_reason
    if reason not in _PLAIN:
        return _container(reason, pod.container.waiting_message, pod, wanted, evidence)
    return _creating(pod, wanted, evidence)


def _container(reason: str, message: str, pod: PodView, wanted: Wanted, evidence: Evidence) -> Wait:
    if reason in REASONS:
        pulls = (one.message for one in evidence.about(pod.name) if one.message.startswith("Failed to pull"))
        return image_wait(reason, message, default=wanted.image, node=pod.node, also=next(pulls, ""))
    missing = _missing(message, wanted)
    if missing is not None:
        return missing
    if "runAsNonRoot" in message:
        text = (
            f"Image {wanted.image} runs as root, or as a user that has only a name, and the pod may not: set "
            "pod.runAsUser of the runtime, or USER in the image to a number."
        )
        return Wait(WaitReason.CONTAINER_FAILED, text)
    text = f"The container cannot be started on node {pod.node}: {reason}: {_short(message)}."
    return Wait(WaitReason.CONTAINER_FAILED, text)


def _creating(pod: PodView, wanted: Wanted, evidence: Evidence) -> Wait:
    """Nothing but ContainerCreating stands in the pod: what is wrong is told by events only."""
    events = evidence.about(pod.name)
    failed = next((one for one in events if one.reason in _VOLUMES | _SANDBOX), None)
    pulling = next((one for one in events if one.reason == "Pulling"), None)
    if failed is not None and (pulling is None or pulling.last < failed.last):
        return _volume(failed, pod, wanted) if failed.reason in _VOLUMES else _sandbox(failed, pod)
    if pulling is not None:
        named = re.search(r'"([^"]+)"', pulling.message)
        text = f"Node {pod.node} is pulling image {named[1] if named else wanted.image}."
        return Wait(WaitReason.CONTAINER_CREATING, text)
    return Wait(
        WaitReason.CONTAINER_CREATING,
        f"Node {pod.node} is preparing the pod: its volumes, its network, its image.",
    )


def _volume(event: EventView, pod: PodView, wanted: Wanted) -> Wait:
    missing = _missing(event.message, wanted)
    if missing is not None:
        return missing
    if no_key := _NO_KEY_MOUNTED.search(event.message):
        secret = no_key["kind"] == "secret"
        reason = WaitReason.SECRET_MISSING if secret else WaitReason.CONFIG_MAP_MISSING
        what = (
            f"Secret {wanted.secret}" if secret and wanted.secret else "A Secret" if secret else "A ConfigMap"
        )
        return Wait(reason, f"{what} of the pod has no key {no_key['key']}: add it.")
    listed = _UNMOUNTED.search(event.message) or _VOLUME.search(event.message)
    names = re.split(r"[ ,]+", listed[1]) if listed else []
    shown = [_volume_name(name, pod, wanted) for name in names]
    subject = ", ".join(shown) or "A volume"
    verb = "attached to" if event.reason == "FailedAttachVolume" else "mounted on"
    text = f"{subject} cannot be {verb} node {pod.node}: {_short(event.message)}."
    return Wait(WaitReason.VOLUME_UNMOUNTED, text)


def _volume_name(name: str, pod: PodView, wanted: Wanted) -> str:
    claim = wanted.claims.get(name)
    return f"PersistentVolumeClaim {claim.format(pod=pod.name)}" if claim else f"Volume {name}"


def _sandbox(event: EventView, pod: PodView) -> Wait:
    text = f"Node {pod.node} cannot set up the pod: {_short(event.message)}: look at its container runtime and network."
    return Wait(WaitReason.CONTAINER_FAILED, text)


def _missing(message: str, wanted: Wanted) -> Wait | None:
    where = f"in namespace {wanted.namespace}"
    if found := _SECRET.search(message):
        name = found["name"]
        mend = "spec.storage.secretRef" if name == wanted.secret else "the name"
        text = f"Secret {name} does not exist {where}: create it, or correct {mend}."
        return Wait(WaitReason.SECRET_MISSING, text)
    if found := _CONFIG_MAP.search(message):
        text = f"ConfigMap {found['name']} does not exist {where}: create it, or correct the name."
        return Wait(WaitReason.CONFIG_MAP_MISSING, text)
    if found := _NO_KEY.search(message):
        secret = found["kind"] == "Secret"
        reason = WaitReason.SECRET_MISSING if secret else WaitReason.CONFIG_MAP_MISSING
        return Wait(reason, f"{found['kind']} {found['name']} {where} has no key {found['key']}: add it.")
    return None


def _short(message: str) -> str:
    """The part that says what is wrong; paths inside the node and wrapped causes say nothing to people."""
    if output := _OUTPUT.search(message):
        return output[1].strip().rstrip(".")
    prefixes: Sequence[str] = (
        r'^(?:MountVolume|AttachVolume|MapVolume)\.\w+ failed for volume "[^"]+" ?: ',
        r"^Failed to create pod sandbox: ",
        r"rpc error: code = \w+ desc = ",
        r'unable to get OCI runtime for sandbox "[0-9a-f]+": ',
        r"failed to create (?:containerd|shim) task: ",
        r"OCI runtime create failed: runc create failed: ",
    )
    for prefix in prefixes:
        message = re.sub(prefix, "", message)
    return re.sub(r"\s+", " ", message).strip().rstrip(".")[:400]
