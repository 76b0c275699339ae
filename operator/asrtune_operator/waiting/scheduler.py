"""The scheduler's words, for people. They are in the pod's PodScheduled condition: no event has to be read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from asrtune_operator.values.observed import PodView, Wait, WaitReason
from asrtune_operator.waiting.amounts import amount, count
from asrtune_operator.waiting.claims import claim_missing, claims_unbound
from asrtune_operator.waiting.facts import Evidence, Wanted
from asrtune_operator.waiting.room import reason_of, room, selector

_SAID: Final = re.compile(r"\d+/(?P<nodes>\d+) nodes are available: (?P<why>.*)", re.DOTALL)
_PREEMPTION: Final = re.compile(r"\.?\s*(?:no new claims to deallocate|preemption: |not found$).*", re.DOTALL)
_REASON: Final = re.compile(r"(?:^|, )(\d+) (.+?)(?=, \d+ |$)", re.DOTALL)
_INSUFFICIENT: Final = re.compile(r"Insufficient (\S+)")
_CLAIM: Final = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_KINDS: Final[Sequence[tuple[WaitReason, str, str]]] = (
    (
        WaitReason.TOPOLOGY_UNSATISFIED,
        r"anti-affinity rules",
        "{} already a pod that this one must be apart from",
    ),
    (WaitReason.TOPOLOGY_UNSATISFIED, r"pod affinity rules", "{} no pod that this one must be beside"),
    (WaitReason.TOPOLOGY_UNSATISFIED, r"topology spread", "{} no place by the topology spread constraints"),
    (
        WaitReason.CLAIM_UNBOUND,
        r"volume|PersistentVolume|pvc|available disk",
        "{} no access to the run's volumes",
    ),
    (WaitReason.RESOURCES_UNAVAILABLE, r"Too many pods", "{} as many pods as it may have"),
    (WaitReason.RESOURCES_UNAVAILABLE, r"free ports", "{} a port taken"),
    (
        WaitReason.TAINT_UNTOLERATED,
        r"untolerated taint|taints that the pod",
        "{} a taint that the run does not tolerate",
    ),
    (WaitReason.RESOURCES_UNAVAILABLE, r"were unschedulable", "{} been cordoned"),
    (
        WaitReason.NODE_SELECTOR_UNMATCHED,
        r"node affinity|node\(s\) didn't match|node name",
        "{} other labels than the node selector asks for",
    ),
)
"""Reason, the scheduler's words, ours; the first that fits counts. Where nodes differ, the first found is the reason of
the wait: the scheduler asks the other way round, so what comes first here was the last obstacle on the way."""


def unschedulable(pod: PodView, wanted: Wanted, evidence: Evidence) -> Wait:
    """Why the scheduler finds no node for a pod."""
    said = pod.conditions["PodScheduled"].message
    if missing := _CLAIM.search(said):
        return claim_missing(missing[1], wanted)
    if "unbound immediate PersistentVolumeClaims" in said:
        return claims_unbound(pod, wanted, evidence)
    total, reasons = parse(said)
    if not reasons:
        return Wait(WaitReason.RESOURCES_UNAVAILABLE, f"The scheduler finds no node: {said[:500]}")
    short = [found[1] for text in reasons if (found := _INSUFFICIENT.search(text))]
    kind = _kind(reasons)
    if evidence.nodes is not None and (
        short or kind in {WaitReason.TAINT_UNTOLERATED, WaitReason.NODE_SELECTOR_UNMATCHED, None}
    ):
        found_room = room(wanted, evidence.nodes)
        if found_room is not None:
            return found_room
    reason = reason_of(wanted, short) if short else (kind or WaitReason.RESOURCES_UNAVAILABLE)
    return Wait(reason, _in_our_words(total, reasons, wanted, reason))


def parse(message: str) -> tuple[int, Mapping[str, int]]:
    """How many nodes there are, and how many the scheduler rejects for what reason."""
    said = _SAID.match(message)
    if said is None:
        return 0, {}
    why = _PREEMPTION.sub("", said["why"]).rstrip(". ")
    return int(said["nodes"]), {text: int(number) for number, text in _REASON.findall(why)}


def _kind(reasons: Mapping[str, int]) -> WaitReason | None:
    return next(
        (reason for reason, pattern, _ in _KINDS if any(re.search(pattern, text) for text in reasons)), None
    )


def _in_our_words(total: int, reasons: Mapping[str, int], wanted: Wanted, reason: WaitReason) -> str:
    told = "; ".join(_phrase(text, number, wanted) for text, number in reasons.items())
    remedy = {
        WaitReason.TAINT_UNTOLERATED: " Tolerate the taint in pod.tolerations of the runtime.",
        WaitReason.NODE_SELECTOR_UNMATCHED: f" Correct pod.nodeSelector of the runtime ({selector(wanted)})."
        if wanted.node_selector
        else "",
    }.get(reason, "")
    return f"Of {count(total, 'node')} none takes the pod: {told}.{remedy}"


def _phrase(text: str, number: int, wanted: Wanted) -> str:
    has = f"{number} has" if number == 1 else f"{number} have"
    if short := _INSUFFICIENT.search(text):
        asked = wanted.requests.get(short[1])
        return (
            f"{has} less than {amount(short[1], asked)} free {short[1]}"
            if asked
            else f"{has} too little {short[1]}"
        )
    for _, pattern, words in _KINDS:
        if re.search(pattern, text):
            named = re.search(r"taint \{(.+?)\}", text)
            return words.format(has) + (f" ({named[1].strip(': ')})" if named else "")
    return f"{number} {text}"
