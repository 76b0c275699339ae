"""What Kueue says of a workload."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from asrtune_operator.values.observed import QueueView, Wait, WaitReason
from asrtune_operator.waiting.amounts import amount, count
from asrtune_operator.waiting.facts import Active, QueueFacts, Wanted

_NO_LOCAL: Final = re.compile(r"LocalQueue (\S+) doesn't exist")
_NO_CLUSTER: Final = re.compile(r"ClusterQueue (\S+) doesn't exist")
_INACTIVE: Final = re.compile(r"(LocalQueue|ClusterQueue) (\S+) is inactive")
_MORE: Final = re.compile(r"insufficient unused quota for (\S+) in flavor ([^\s,]+), (\S+) more needed")
_NEVER: Final = re.compile(
    r"insufficient quota for (\S+) in flavor ([^\s,]+), .*?request \((\S+?)\) > maximum capacity \((\S+?)\)"
)
_UNCOVERED: Final = re.compile(r"resource (\S+) unavailable in ClusterQueue")


def queue_view(manifest: Mapping[str, Any]) -> QueueView:
    """A Kueue Workload as the API server gives it."""
    status = manifest.get("status", {})
    there = {one["type"]: one for one in status.get("conditions") or ()}
    reserved, admitted = (
        there.get(kind, {}).get("status") == "True" for kind in ("QuotaReserved", "Admitted")
    )
    reason, message = _why(there, status, manifest["spec"], reserved=reserved, admitted=admitted)
    return QueueView(
        queue=manifest["spec"].get("queueName", ""),
        reserved=reserved,
        admitted=admitted,
        reason=reason,
        message=message,
    )


def _why(
    there: Mapping[str, Any],
    status: Mapping[str, Any],
    spec: Mapping[str, Any],
    *,
    reserved: bool,
    admitted: bool,
) -> tuple[str, str]:
    if admitted:
        return there["Admitted"].get("reason", ""), there["Admitted"].get("message", "")
    if not spec.get("active", True):
        return "Deactivated", there.get("Evicted", {}).get("message", "") or "The workload is deactivated."
    if reserved:
        checks = [one for one in status.get("admissionChecks") or () if one.get("state") != "Ready"]
        told = "; ".join(f"{one['name']}: {one.get('message') or one.get('state', '')}" for one in checks)
        return "AdmissionCheckPending", told
    evicted, quota = there.get("Evicted", {}), there.get("QuotaReserved", {})
    if evicted.get("status") == "True" and quota.get("reason") not in {"Pending", "Inadmissible"}:
        return evicted.get("reason", ""), evicted.get("message", "")
    return quota.get("reason", ""), quota.get("message", "")


def queue_wait(facts: QueueFacts | None, wanted: Wanted, workload: str, *, silent: bool) -> Wait:
    """Why a workload is not admitted.

    Args:
        facts: what Kueue says; None where it was not asked.
        wanted: what the pods ask for; its queue is set.
        workload: kind and name of ours.
        silent: whether Kueue has had time enough to take notice of it.
    """
    queue, reason = wanted.queue or "", WaitReason.QUOTA_EXHAUSTED
    if facts is None or not facts.readable:
        text = f"Queue {queue} has not admitted {workload} yet; the operator may not read why (Kueue's Workloads)."
        return Wait(reason, text)
    if facts.view is None:
        return _unnoticed(facts, queue, workload, silent=silent)
    if facts.view.admitted:
        return Wait(WaitReason.CREATED, f"Queue {queue} has admitted {workload}; its pods are being made.")
    if facts.view.reserved:
        said = facts.view.message.rstrip(".")
        return Wait(reason, f"Queue {queue} has reserved quota, and waits for its admission checks: {said}.")
    return _missing(facts.view.message, wanted) or _inactive(facts, wanted) or _quota(facts, wanted)


def _unnoticed(facts: QueueFacts, queue: str, workload: str, *, silent: bool) -> Wait:
    if not facts.installed:
        text = f"The cluster has no Kueue, so nobody admits {workload} to queue {queue}"
        return Wait(WaitReason.BACKEND_UNAVAILABLE, f"{text}: install it, or unset queueName.")
    if not silent:
        return Wait(WaitReason.CREATED, f"Queue {queue} has not taken notice of {workload} yet.")
    text = (
        f"Kueue has not taken notice of {workload}: does it run, and does it manage this kind and namespace?"
    )
    return Wait(WaitReason.BACKEND_UNAVAILABLE, text)


def _missing(said: str, wanted: Wanted) -> Wait | None:
    if found := _NO_LOCAL.search(said):
        text = f"LocalQueue {found[1]} does not exist in namespace {wanted.namespace}: create it, or correct queueName."
        return Wait(WaitReason.QUEUE_NOT_FOUND, text)
    if found := _NO_CLUSTER.search(said):
        text = f"LocalQueue {wanted.queue} leads to ClusterQueue {found[1]}, which does not exist: create it"
        return Wait(WaitReason.QUEUE_NOT_FOUND, f"{text}, or correct the LocalQueue.")
    return None


def _inactive(facts: QueueFacts, wanted: Wanted) -> Wait | None:
    assert facts.view is not None
    said, reason = facts.view.message, WaitReason.QUEUE_INACTIVE
    if facts.view.reason == "Deactivated":
        return Wait(
            reason, f"Kueue has deactivated the workload in queue {wanted.queue}: {said.rstrip('.')}."
        )
    if found := _INACTIVE.search(said):
        why = _told(facts.local if found[1] == "LocalQueue" else facts.cluster)
        return Wait(reason, f"Queue {wanted.queue}: {found[1]} {found[2]} takes no workloads{why}.")
    if "doesn't match ClusterQueue selector" in said:
        cluster = facts.cluster_queue or "behind it"
        text = f"Queue {wanted.queue}: ClusterQueue {cluster} takes none of namespace {wanted.namespace}"
        return Wait(reason, f"{text}: label the namespace as its namespaceSelector asks.")
    return None


def _told(active: Active | None) -> str:
    if active is None or active.active or not active.message:
        return ""
    return ": " + active.message.removeprefix("Can't admit new workloads: ").rstrip(".")


def _quota(facts: QueueFacts, wanted: Wanted) -> Wait:
    assert facts.view is not None
    said = facts.view.message.rstrip(".")
    cluster = f"ClusterQueue {facts.cluster_queue}" if facts.cluster_queue else "its ClusterQueue"
    ahead = (
        f"; {count(facts.ahead, 'workload')} {'is' if facts.ahead == 1 else 'are'} ahead"
        if facts.ahead
        else ""
    )
    if found := _MORE.search(said):
        resource, flavor, more = found.groups()
        text = f"quota of {cluster} is used up{_used(facts, resource)}, {more} more needed (flavor {flavor}){ahead}"
    elif found := _UNCOVERED.search(said):
        resource = found[1]
        text = f"{cluster} has no quota for {resource} at all, and never takes the run: add it there, or ask for none"
    elif found := _NEVER.search(said):
        resource, flavor, asked, most = found.groups()
        text = f"the run asks for {asked} {resource}, and {cluster} has {most} at most (flavor {flavor})"
        text += ": ask for less, or raise its quota"
    else:
        text = f"{said or 'the workload waits for its turn'}{ahead}"
    return Wait(WaitReason.QUOTA_EXHAUSTED, f"Queue {wanted.queue}: {text}.")


def _used(facts: QueueFacts, resource: str) -> str:
    share = facts.shares.get(resource)
    if share is None:
        return f" for {resource}"
    return f": {amount(resource, share.used)} of {amount(resource, share.quota)} {resource}"
