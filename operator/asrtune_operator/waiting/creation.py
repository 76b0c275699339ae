"""Pods that the API server does not let a controller make: quota, Pod Security, webhooks, classes that are missing."""

from __future__ import annotations

import re
from typing import Final

from asrtune_operator.values.observed import Wait, WaitReason

_EXCEEDED: Final = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.+), used: (?P<used>.+), limited: (?P<limit>.+)"
)
_UNSAID: Final = re.compile(r"failed quota: (?P<quota>[^:]+): must specify (?P<what>[^;]+?)(?: for: .*)?$")
_RANGE: Final = re.compile(
    r"((?:maximum|minimum) \S+ usage per \w+ is .+|\S+ max limit to request ratio per \w+ is .+)"
)
_SECURITY: Final = re.compile(r'violates PodSecurity "(?P<level>[^"]+)": (?P<why>.+)', re.DOTALL)
_PRIORITY: Final = re.compile(r"no PriorityClass with name (\S+) was found")
_WEBHOOK_DOWN: Final = re.compile(r'failed calling webhook "(?P<name>[^"]+)": (?P<why>.+)', re.DOTALL)
_WEBHOOK: Final = re.compile(
    r'admission webhook "(?P<name>[^"]+)" denied the request: ?(?P<why>.*)', re.DOTALL
)
_POLICY: Final = re.compile(
    r"ValidatingAdmissionPolicy '(?P<name>[^']+)'.* denied request: (?P<why>.+)", re.DOTALL
)
_ACCOUNT: Final = re.compile(r'serviceaccount "([^"]+)" not found')
_CLASS: Final = re.compile(r'RuntimeClass "([^"]+)" not found')
_FORBIDDEN: Final = re.compile(r'^(?:Error creating: )?(?:\S+ "[^"]*" is forbidden: )?(?:pod rejected: )?')


def refused(message: str, namespace: str) -> Wait:
    """Why the API server refuses pods, from the words that it gave their controller."""
    return _quota(message, namespace) or _named(message, namespace) or _denied(message, namespace)


def _quota(message: str, namespace: str) -> Wait | None:
    reason = WaitReason.RESOURCE_QUOTA_EXCEEDED
    if said := _EXCEEDED.search(message):
        text = (
            f"ResourceQuota {said['quota']} of namespace {namespace} refuses the pods: asked for {said['asked']}, "
            f"used {said['used']}, allowed {said['limit']}."
        )
        return Wait(reason, text)
    if said := _UNSAID.search(message):
        text = f"ResourceQuota {said['quota']} of namespace {namespace} takes only pods that say their {said['what']}"
        return Wait(reason, f"{text}: set spec.resources, or give the namespace a LimitRange with defaults.")
    if said := _RANGE.search(message):
        return Wait(
            reason,
            f"A LimitRange of namespace {namespace} refuses the pods: {said[1]}: change spec.resources.",
        )
    return None


def _named(message: str, namespace: str) -> Wait | None:
    if said := _PRIORITY.search(message):
        text = f"PriorityClass {said[1]} does not exist: create it, or correct pod.priorityClassName of the runtime."
        return Wait(WaitReason.PRIORITY_CLASS_MISSING, text)
    for pattern, kind in ((_ACCOUNT, "ServiceAccount"), (_CLASS, "RuntimeClass")):
        if said := pattern.search(message):
            where = f" in namespace {namespace}" if kind == "ServiceAccount" else ""
            return Wait(WaitReason.ADMISSION_REFUSED, f"{kind} {said[1]} does not exist{where}: create it.")
    return None


def _denied(message: str, namespace: str) -> Wait:
    if said := _SECURITY.search(message):
        text = f"Pod Security level {said['level']} of namespace {namespace} refuses the pods: {said['why']}"
    elif said := _WEBHOOK_DOWN.search(message):
        cause = said["why"].rpartition(": ")[2]
        text = f"Webhook {said['name']}, which has to be asked about every pod, cannot be: {cause}"
    elif said := _WEBHOOK.search(message):
        text = f"Webhook {said['name']} refuses the pods: {said['why']}"
    elif said := _POLICY.search(message):
        text = f"ValidatingAdmissionPolicy {said['name']} refuses the pods: {said['why']}"
    else:
        text = f"The API server refuses the pods: {_FORBIDDEN.sub('', message)}"
    return Wait(WaitReason.ADMISSION_REFUSED, f"{text.strip().rstrip('.')[:900]}.")
