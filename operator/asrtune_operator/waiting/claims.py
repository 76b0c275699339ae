"""PersistentVolumeClaims that hold a pod back."""

from __future__ import annotations

from asrtune_operator.values.observed import PodView, Wait, WaitReason
from asrtune_operator.waiting.facts import ClaimView, Evidence, Wanted

BOUND = "Bound"


def claim_missing(name: str, wanted: Wanted) -> Wait:
    """A claim that is not there."""
    text = (
        f"PersistentVolumeClaim {name} does not exist in namespace {wanted.namespace}: create it, or correct "
    )
    return Wait(WaitReason.CLAIM_MISSING, f"{text}the claim in spec.volumes (or the runtime's pod.volumes).")


def claims_unbound(pod: PodView, wanted: Wanted, evidence: Evidence) -> Wait:
    """Claims that have no volume."""
    if evidence.claims is None:
        names = ", ".join(sorted(claim_names(pod, wanted))) or "of the pod"
        text = f"Not all PersistentVolumeClaims ({names}) have a volume; kubectl describe pvc says why."
        return Wait(WaitReason.CLAIM_UNBOUND, text)
    found = unbound(pod, wanted, evidence)
    if not found:
        return Wait(WaitReason.CLAIM_UNBOUND, "A PersistentVolumeClaim of the pod has no volume yet.")
    return found[0]


def unbound(pod: PodView, wanted: Wanted, evidence: Evidence) -> list[Wait]:
    """What is wrong with each claim of a pod; empty where nothing is, or nothing is known."""
    if evidence.claims is None:
        return []
    waits = []
    for name in sorted(claim_names(pod, wanted)):
        claim = evidence.claims.get(name)
        if claim is None:
            waits.append(claim_missing(name, wanted))
        elif claim.phase != BOUND:
            waits.append(_unbound(claim, evidence))
    return waits


def claim_names(pod: PodView, wanted: Wanted) -> set[str]:
    """Names of the claims of a pod."""
    return {name.format(pod=pod.name) for name in wanted.claims.values()}


def _unbound(claim: ClaimView, evidence: Evidence) -> Wait:
    said = next(
        (
            one.message
            for one in evidence.about(claim.name)
            if one.kind == "PersistentVolumeClaim" and one.warning
        ),
        "",
    )
    head = f"PersistentVolumeClaim {claim.name} is {claim.phase}"
    if said:
        text = f"{head}: {said.rstrip('.')}."
    elif claim.provisioner:
        text = f"{head}: provisioner {claim.provisioner} of StorageClass {claim.storage_class} has made no volume yet."
    elif claim.storage_class:
        text = f"{head}: no volume of StorageClass {claim.storage_class} is free, and none is being made."
    else:
        text = f"{head}: it names no StorageClass, the cluster has no default one, and no volume fits."
    return Wait(WaitReason.CLAIM_UNBOUND, text)
