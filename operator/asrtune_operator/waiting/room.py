"""Which node a pod would fit on, were it not for what: the scheduler only says how many nodes lack what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from asrtune_api.runtime import Toleration, TolerationOperator
from asrtune_operator.values.observed import Wait, WaitReason
from asrtune_operator.waiting.amounts import amount, count
from asrtune_operator.waiting.facts import NodeView, Taint, Wanted

_REPELLING: Final = frozenset({"NoSchedule", "NoExecute"})
_OWN_TAINTS: Final = "node.kubernetes.io/"
"""Kubernetes' own: not ready, unreachable, cordoned, short of memory, disk or process ids."""
Exclusion = tuple[WaitReason, str]
"""Why a node does not come into question whatever is free on it, after `which`."""


def room(wanted: Wanted, nodes: Sequence[NodeView]) -> Wait | None:
    """Why no node takes the pod; None where that cannot be told from room, taints and selector."""
    big = [node for node in nodes if _is_big_enough(wanted, node)]
    if not big:
        return _too_big(wanted, nodes)
    excluded = {node.name: why for node in big if (why := exclusion(wanted, node))}
    open_to_us = [node for node in big if node.name not in excluded]
    if not open_to_us:
        return _all_excluded(wanted, excluded)
    nearest = min(open_to_us, key=lambda node: _lack(wanted, node))
    lacking = [key for key in wanted.requests if nearest.free(key) < wanted.requests[key]]
    if not lacking:
        return None
    return _busy(wanted, nearest, lacking, excluded)


def for_ever(wanted: Wanted, nodes: Sequence[NodeView]) -> Wait | None:
    """Why no node would take the pod even if all of it were free and well; None where one would."""
    lasting = (WaitReason.NODE_SELECTOR_UNMATCHED, WaitReason.TAINT_UNTOLERATED)
    found = [exclusion(wanted, node) for node in nodes if _is_big_enough(wanted, node)]
    return room(wanted, nodes) if all(why is not None and why[0] in lasting for why in found) else None


def exclusion(wanted: Wanted, node: NodeView) -> Exclusion | None:
    """Why a node does not come into question; None where it does. Of nodes outside the selector nothing else counts."""
    if any(node.labels.get(key) != value for key, value in wanted.node_selector.items()):
        return WaitReason.NODE_SELECTOR_UNMATCHED, f"excluded by the node selector {selector(wanted)}"
    if not node.ready:
        return WaitReason.RESOURCES_UNAVAILABLE, "not ready"
    if node.cordoned:
        return WaitReason.RESOURCES_UNAVAILABLE, "cordoned"
    for taint in node.taints:
        if taint.effect in _REPELLING and not any(_tolerates(one, taint) for one in wanted.tolerations):
            own = taint.key.startswith(_OWN_TAINTS)
            reason = WaitReason.RESOURCES_UNAVAILABLE if own else WaitReason.TAINT_UNTOLERATED
            return reason, f"excluded by taint {taint}"
    return None


def selector(wanted: Wanted) -> str:
    """The node selector as kubectl takes it."""
    return ",".join(f"{key}={value}" for key, value in wanted.node_selector.items())


def reason_of(wanted: Wanted, lacking: Sequence[str]) -> WaitReason:
    """GPUs are what people wait for: where they lack, too, they are the reason."""
    gpus = wanted.gpu_resource in lacking
    return WaitReason.GPUS_UNAVAILABLE if gpus else WaitReason.RESOURCES_UNAVAILABLE


def _is_big_enough(wanted: Wanted, node: NodeView) -> bool:
    return all(node.total.get(key, 0) >= value for key, value in wanted.requests.items())


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect is not None and toleration.effect.value != taint.effect:
        return False
    if toleration.key is not None and toleration.key != taint.key:
        return False
    exists = toleration.operator is TolerationOperator.EXISTS
    return exists or (toleration.key is not None and (toleration.value or "") == taint.value)


def _lack(wanted: Wanted, node: NodeView) -> tuple[int, Decimal, str]:
    """The fewer resources lack, and the more of those that do is free, the nearer."""
    lacking = [key for key, value in wanted.requests.items() if node.free(key) < value]
    shares = [node.free(key) / wanted.requests[key] for key in lacking]
    return len(lacking), -sum(shares, Decimal()), node.name


def _busy(wanted: Wanted, node: NodeView, lacking: Sequence[str], excluded: dict[str, Exclusion]) -> Wait:
    first = wanted.gpu_resource if wanted.gpu_resource in lacking else lacking[0]
    asked = ", ".join(f"{amount(key, wanted.requests[key])} free {key}" for key in lacking)
    of_first = f"{_of(node, first)} free"
    others = "".join(f", and {_of(node, key)} {key}" for key in lacking if key != first)
    text = f"No node has {asked}: {node.name} has the most, {of_first}{others}"
    return Wait(reason_of(wanted, lacking), f"{text}{_besides(excluded)}.")


def _of(node: NodeView, resource: str) -> str:
    free = max(Decimal(), node.free(resource))
    return f"{amount(resource, free)} of {amount(resource, node.total[resource])}"


def _besides(excluded: dict[str, Exclusion]) -> str:
    counted = Counter(text for _, text in excluded.values())
    told = [
        f"{count(number, 'more node')} {'is' if number == 1 else 'are'} {text}"
        for text, number in counted.most_common(3)
    ]
    return f"; {', '.join(told)}" if told else ""


def _too_big(wanted: Wanted, nodes: Sequence[NodeView]) -> Wait:
    if not nodes:
        return Wait(WaitReason.RESOURCES_UNAVAILABLE, "The cluster has no nodes.")
    for key in sorted(wanted.requests, key=lambda key: key != wanted.gpu_resource):
        largest = max(nodes, key=lambda node: (node.total.get(key, Decimal()), node.name))
        total = largest.total.get(key, Decimal())
        if total < wanted.requests[key]:
            has = f"the largest, {largest.name}, has {amount(key, total)}" if total else "none has any"
            asked = amount(key, wanted.requests[key])
            text = f"No node has {asked} {key} at all, {has}: {_ask_less(wanted, key)}, or add such a node."
            return Wait(reason_of(wanted, [key]), text)
    everything = ", ".join(f"{amount(key, value)} {key}" for key, value in wanted.requests.items())
    return Wait(reason_of(wanted, list(wanted.requests)), f"No node is large enough for all of {everything}.")


def _ask_less(wanted: Wanted, resource: str) -> str:
    fields = {wanted.gpu_resource: "gpusPerNode", "cpu": "cpu", "memory": "memory"}
    return f"ask for less in spec.resources.{fields[resource]}" if resource in fields else "ask for less"


def _all_excluded(wanted: Wanted, excluded: dict[str, Exclusion]) -> Wait:
    selected = [why for why in excluded.values() if why[0] is not WaitReason.NODE_SELECTOR_UNMATCHED]
    counted = Counter(selected or excluded.values())
    (reason, _), _number = counted.most_common(1)[0]
    asked = wanted.requests.get(wanted.gpu_resource)
    which = (
        f"with {amount(wanted.gpu_resource, asked)} {wanted.gpu_resource}"
        if asked
        else "that are large enough"
    )
    told = ", ".join(
        f"{number} {'is' if number == 1 else 'are'} {text}" for (_, text), number in counted.most_common(3)
    )
    remedy = {
        WaitReason.TAINT_UNTOLERATED: " Tolerate the taint in pod.tolerations of the runtime.",
        WaitReason.NODE_SELECTOR_UNMATCHED: " Correct pod.nodeSelector of the runtime, or label nodes.",
    }.get(reason, "")
    return Wait(reason, f"Of the nodes {which} none is open to the run: {told}.{remedy}")
