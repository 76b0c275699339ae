"""What /metrics says of runs and of the operator itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from asrtune_operator.follow.resync import keep
from asrtune_operator.state.store import Store
from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.health import Pulse, now
from asrtune_operator.telemetry.metrics import Metrics
from asrtune_operator.values.kinds import FINETUNES, PODS
from asrtune_operator.values.names import GPUS
from tools.objects import custom_resource, pod

Samples = dict[tuple[str, frozenset[str]], float]


def exported(status: dict[str, Any], *pods: Any, **pulse: float | bool) -> Samples:
    """Name and label values (those of the run left out) -> value, as a process would serve them."""

    async def body() -> str:
        store, metrics, queue = Store(), Metrics(), WorkQueue()
        metrics.follow(store, queue, Pulse(queue, 60, **pulse).figures())  # type: ignore[arg-type]
        store.put(FINETUNES, keep(FINETUNES, custom_resource({}, status=status)))
        for one in pods:
            store.put(PODS, keep(PODS, one))
        return generate_latest(metrics.registry).decode()

    own = {"ASRFinetune", "speech", "demo"}
    return {
        (sample.name, frozenset(set(sample.labels.values()) - own)): sample.value
        for family in parse(asyncio.run(body()))
        for sample in family.samples
    }


def on_node(number: int, phase: str = "Running", node: str = "gpu-1") -> Any:
    found = pod("run-1", uid=f"pod-{number}", phase=phase)
    found["metadata"]["annotations"] = {GPUS: "8"}
    found["spec"]["nodeName"] = node
    return found


def test_gpus_are_held_from_the_node_on_until_the_pod_has_ended() -> None:
    pods = [on_node(0), on_node(1, "Pending"), on_node(2, "Failed"), on_node(3, "Pending", node="")]
    assert exported({}, *pods)["asrtune_run_gpus", frozenset()] == 16
    assert exported({})["asrtune_run_gpus", frozenset()] == 0


def test_a_run_has_one_phase_and_its_steps() -> None:
    found = exported({"phase": "Running", "progress": {"step": 30, "totalSteps": 90, "checkpointStep": 20}})
    assert {key: value for key, value in found.items() if key[0] == "asrtune_run_phase"} == {
        ("asrtune_run_phase", frozenset({"Running"})): 1
    }
    steps = [
        found[f"asrtune_run_{name}", frozenset()] for name in ("step", "steps_planned", "checkpoint_step")
    ]
    assert steps == [30, 90, 20]


def test_an_error_rate_has_its_interval_and_validation_has_none() -> None:
    row = {"set": "calls", "model": "base", "metric": "CER", "cer": "8.2", "low": "7.5", "high": "9"}
    found = exported({"results": [row], "bestCer": {"percent": "3"}})
    labels = frozenset({"calls", "base", "CER"})
    ends = [found[f"asrtune_run_error_rate{end}", labels] for end in ("", "_low", "_high")]
    assert ends == [8.2, 7.5, 9]
    assert not any("validation" in labels for _, labels in found)
    found = exported({"bestCer": {"percent": "3"}})
    assert found["asrtune_run_error_rate", frozenset({"validation", "finetuned", "CER"})] == 3
    assert not any(name == "asrtune_run_error_rate_low" for name, _ in found)


def test_the_operator_says_when_it_did_what() -> None:
    async def moment() -> float:
        return now()

    found = exported({}, leading=True, event=asyncio.run(moment()) - 5)
    assert found["asrtune_operator_leading", frozenset()] == 1
    told = found["asrtune_operator_last_event_timestamp_seconds", frozenset()]
    assert abs(time.time() - 5 - told) < 2
    assert ("asrtune_operator_last_resync_timestamp_seconds", frozenset()) not in found  # never yet
