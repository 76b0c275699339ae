"""In which state every run is: its conditions, its stages, and since when. What alerts and timelines ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from asrtune_operator.state.objects import RunObject
from asrtune_operator.state.store import Store

RUN: Final = ("kind", "namespace", "name")
"""Labels that say which run a series is of."""
_HOLDS: Final = {"True": 1.0, "False": 0.0}
_TIMES: Final = {
    "start": ("When the run's first pod ran.", ("startedAt",)),
    "finish": ("When the run was complete or had failed.", ("finishedAt",)),
    "advance": ("When the running attempt last made progress.", ("progress", "advancedAt")),
    "checkpoint": ("When the last checkpoint of training was saved.", ("progress", "checkpointAt")),
}
"""Time of a run -> its description, and where it stands in the status."""
_RESTARTS: Final = {"failure": "retries", "interruption": "interruptions", "stall": "stallRestarts"}


class StateCollector(Collector):
    """Made from the statuses when they are asked for: the series of a deleted run are gone with it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """All series."""
        runs = list(self._store.runs())
        yield _conditions(runs)
        for name, (text, path) in _TIMES.items():
            family = GaugeMetricFamily(f"asrtune_run_{name}_timestamp_seconds", text, labels=RUN)
            for run in runs:
                _add(family, run, (), _unix(_at(run.status, path)))
            yield family
        yield from _stages(runs)


def _conditions(runs: list[RunObject]) -> Metric:
    text = "1 while the condition holds, 0 while it does not; absent while that is unknown."
    family = GaugeMetricFamily("asrtune_run_condition", text, labels=(*RUN, "condition", "reason"))
    for run in runs:
        for one in _list(run, "conditions"):
            labels = (str(one.get("type", "")), str(one.get("reason", "")))
            _add(family, run, labels, _HOLDS.get(str(one.get("status"))))
    return family


def _stages(runs: list[RunObject]) -> Iterator[Metric]:
    labels = (*RUN, "stage", "type")
    states = GaugeMetricFamily(
        "asrtune_run_stage_state", "1 for the state the stage is in.", labels=(*labels, "state")
    )
    begun = GaugeMetricFamily(
        "asrtune_run_stage_start_timestamp_seconds", "When the stage started first.", labels=labels
    )
    text = "Attempts at the stage that ended without its end, by cause."
    restarts = GaugeMetricFamily("asrtune_run_stage_restarts", text, labels=(*labels, "cause"))
    for run in runs:
        for one in _list(run, "stages"):
            own = (str(one.get("name", "")), str(one.get("type", "")))
            _add(states, run, (*own, str(one.get("state", ""))), 1.0)
            _add(begun, run, own, _unix(one.get("startedAt")))
            for cause, count in _RESTARTS.items():
                _add(restarts, run, (*own, cause), _count(one.get(count, 0)))
    yield from (states, begun, restarts)


def _add(family: GaugeMetricFamily, run: RunObject, labels: tuple[str, ...], value: float | None) -> None:
    if value is not None:
        identity = run.identity
        family.add_metric((identity.kind, identity.namespace, identity.name, *labels), value)


def _list(run: RunObject, key: str) -> list[Mapping[str, Any]]:
    """Anybody with the right to may have written anything into a status."""
    found = run.status.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _at(status: Mapping[str, Any], path: tuple[str, ...]) -> object:
    found: object = status
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _unix(text: object) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None


def _count(value: object) -> float | None:
    return float(value) if isinstance(value, int) else None
