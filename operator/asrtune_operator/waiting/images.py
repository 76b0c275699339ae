"""Images that cannot be pulled."""

from __future__ import annotations

import re
from typing import Final

from asrtune_operator.values.observed import Wait, WaitReason

REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_NAMED: Final = re.compile(r'(?:image|tag) "([^"]+)"')
_REFERENCE: Final = "correct image in the runtime, or push it"
_CAUSES: Final = (
    (
        r"InvalidImageName|invalid reference|couldn't parse image",
        "that is no image name",
        "correct image in the runtime",
    ),
    (
        r"ErrImageNeverPull|pull policy of Never",
        "it is not on {node}, and may not be pulled there",
        "load it there",
    ),
    (
        r"no basic auth|pull access denied|unauthorized|authorization failed|\b40[13]\b|denied|no pull secret",
        "its registry refuses access, or has no such repository",
        "give the runtime pod.imagePullSecrets, or correct image",
    ),
    (
        r"toomanyrequests|\b429\b|rate limit",
        "its registry limits how often one may pull",
        "log in to it, or mirror the image",
    ),
    (
        r"no matching manifest|no match for platform",
        "it was not built for the architecture of {node}",
        "build it for that",
    ),
    (
        r"manifest unknown|name unknown|not found|NotFound|\b404\b",
        "its registry has no such image",
        _REFERENCE,
    ),
    (r"no space left", "the disk of {node} is full", "make room there"),
    (r"x509|certificate", "{node} does not trust its registry's certificate", "give the node its authority"),
    (
        r"no such host|dial tcp: lookup",
        "the name of its registry cannot be resolved on {node}",
        "correct image, or the node's DNS",
    ),
    (
        r"connection refused|no route to host|network is unreachable|timeout|deadline exceeded",
        "its registry cannot be reached from {node}",
        "look at the network, or at the registry",
    ),
    (
        r"tls: first record",
        "its registry speaks no TLS",
        "set it up as an insecure one on the nodes, or give it a certificate",
    ),
    (r"\b50[0-9] [A-Z]|RegistryUnavailable", "its registry fails", "look at its log"),
)


def image_wait(reason: str, message: str, *, default: str, node: str, also: str = "") -> Wait:
    """Why an image cannot be pulled.

    Args:
        reason: the waiting container's.
        message: the waiting container's.
        default: the image where the message names none.
        node: where it is pulled.
        also: an event's message: older kubelets do not repeat the cause while they back off.
    """
    named = _NAMED.search(message) or _NAMED.search(also)
    image = named[1] if named else default
    # What the image or its host is called says nothing of the cause.
    said = re.sub(r"\s+", " ", f"{reason} {message} {also}").replace(image, "")
    for pattern, cause, remedy in _CAUSES:
        if re.search(pattern, said):
            text = f"{cause.format(node=f'node {node}' if node else 'the node')}: {remedy}"
            return Wait(WaitReason.IMAGE_UNAVAILABLE, f"Image {image} cannot be pulled: {text}.")
    last = (message or also or reason).strip().rstrip(".")[-300:]
    return Wait(WaitReason.IMAGE_UNAVAILABLE, f"Image {image} cannot be pulled: {last}.")
