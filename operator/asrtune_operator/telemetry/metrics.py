"""What /metrics says: how the operator does, and the last figures of every run."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from asrtune_operator.state.objects import RunObject
from asrtune_operator.state.store import Store
from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.states import RUN, StateCollector

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_FIGURES: Final = {
    "progress_percent": ("Share of the run's work that is done.", ("progress", "percent")),
    "eta_seconds": ("Estimated seconds until the run is done.", ("progress", "etaSeconds")),
    "step": ("Optimiser steps done by the running training.", ("progress", "step")),
    "steps_planned": ("Optimiser steps that the running training may take.", ("progress", "totalSteps")),
    "checkpoint_step": ("Optimiser step of the last checkpoint of training.", ("progress", "checkpointStep")),
    "loss": ("Last training loss.", ("progress", "loss")),
    "utterances_per_second": ("Training speed.", ("progress", "utterancesPerSecond")),
    "gpu_seconds": ("GPU time in all.", ("usage", "gpuSeconds")),
    "lost_gpu_seconds": ("GPU time whose work had to be done again.", ("usage", "lostGpuSeconds")),
    "cost": ("GPU time times the runtime's price.", ("usage", "cost")),
}
"""Figure of a run -> its description, and where it stands in the status."""
_SCORES: Final = {
    "": ("Last error rate, in percent; by validation until a test set was scored.", "cer"),
    "_low": ("Lower end of the error rate's 95 % interval, in percent.", "low"),
    "_high": ("Upper end of the error rate's 95 % interval, in percent.", "high"),
}
"""End of a name -> its description, and the field of a score."""
Figures = Mapping[str, tuple[str, Callable[[], float | None]]]
"""Name -> description and what reads it; None is not exported."""


@dataclass(frozen=True)
class Metrics:
    """The counters that other parts write, and the registry that is served."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    reconciles: Histogram = field(init=False)
    errors: Counter = field(init=False)
    requests: Histogram = field(init=False)
    events: Counter = field(init=False)

    def __post_init__(self) -> None:
        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(
                f"asrtune_operator_{name}", text, labels, registry=self.registry, buckets=_SECONDS
            )

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"asrtune_operator_{name}", text, labels, registry=self.registry)

        made = {
            "reconciles": histogram("reconcile_seconds", "Time that a look at a run took.", "kind"),
            "errors": counter(
                "reconcile_errors", "Looks at a run that failed, by the error.", "kind", "error"
            ),
            "requests": histogram(
                "api_request_seconds", "Requests to the API server.", "verb", "resource", "code"
            ),
            "events": counter("watch_events", "Events from the watches.", "resource"),
        }
        for name, metric in made.items():
            object.__setattr__(self, name, metric)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def on_request(self, verb: str, plural: str, code: str, seconds: float) -> None:
        """Count a request to the API server."""
        self.requests.labels(verb, plural, code).observe(seconds)

    def follow(self, store: Store, queue: WorkQueue, gauges: Figures) -> None:
        """Serve the runs of a store, the depth of a queue, and other figures by name."""
        self.registry.register(RunCollector(store))
        self.registry.register(StateCollector(store))
        self.registry.register(_OperatorCollector(queue, gauges))


class RunCollector(Collector):
    """The last figures of every run, made when they are asked for: the series of a deleted run are gone with it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """All series."""
        runs = list(self._store.runs())
        yield from self._phases(runs)
        yield self._gpus(runs)
        for name, (text, path) in _FIGURES.items():
            family = GaugeMetricFamily(f"asrtune_run_{name}", text, labels=RUN)
            for run in runs:
                value = _number(run.status.get(path[0], {}).get(path[1]))
                if value is not None:
                    family.add_metric(_labels(run), value)
            yield family
        yield from self._scores(runs)
        yield self._losses(runs)

    def _phases(self, runs: list[RunObject]) -> Iterator[Metric]:
        family = GaugeMetricFamily("asrtune_runs", "Runs by phase.", labels=("kind", "namespace", "phase"))
        single = GaugeMetricFamily("asrtune_run_phase", "1 for the run's phase.", labels=(*RUN, "phase"))
        tally = Tally((one.identity.kind, one.identity.namespace, _phase(one)) for one in runs)
        for key, count in tally.items():
            family.add_metric(key, count)
        for run in runs:
            single.add_metric((*_labels(run), _phase(run)), 1)
        yield from (family, single)

    def _gpus(self, runs: list[RunObject]) -> Metric:
        family = GaugeMetricFamily("asrtune_run_gpus", "GPUs that the run's pods hold now.", labels=RUN)
        for run in runs:
            holding = (pod for pod in self._store.pods(run.uid) if pod.node and not pod.ended)
            family.add_metric(_labels(run), sum(pod.gpus for pod in holding))
        return family

    def _scores(self, runs: list[RunObject]) -> Iterator[Metric]:
        for end, (text, field_name) in _SCORES.items():
            labels = (*RUN, "set", "model", "metric")
            family = GaugeMetricFamily(f"asrtune_run_error_rate{end}", text, labels=labels)
            for run in runs:
                for one in run.status.get("results") or (_by_validation(run),):
                    value = _number(one.get(field_name))
                    if value is not None:
                        own = (one.get("set", ""), one.get("model", ""), one.get("metric", "CER"))
                        family.add_metric((*_labels(run), *own), value)
            yield family

    def _losses(self, runs: list[RunObject]) -> Metric:
        text = "GPU time whose work had to be done again, by why."
        family = GaugeMetricFamily("asrtune_run_lost_gpu_seconds_by_reason", text, labels=(*RUN, "reason"))
        for run in runs:
            for one in (run.status.get("usage") or {}).get("lost") or ():
                family.add_metric((*_labels(run), one["reason"]), one["gpuSeconds"])
        return family


class _OperatorCollector(Collector):
    def __init__(self, queue: WorkQueue, gauges: Figures) -> None:
        self._queue = queue
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        state = self._queue.state
        depth = GaugeMetricFamily("asrtune_operator_queue_depth", "Runs in the queue.", labels=("state",))
        for name, value in (("waiting", state.waiting), ("active", state.active), ("delayed", state.delayed)):
            depth.add_metric((name,), value)
        yield depth
        text = "How long the oldest run has waited for its turn."
        yield GaugeMetricFamily("asrtune_operator_queue_oldest_seconds", text, state.oldest_seconds)
        for name, (text, read) in self._gauges.items():
            if (figure := read()) is not None:
                yield GaugeMetricFamily(f"asrtune_operator_{name}", text, figure)


def _labels(run: RunObject) -> tuple[str, str, str]:
    return run.identity.kind, run.identity.namespace, run.identity.name


def _phase(run: RunObject) -> str:
    return str(run.status.get("phase", ""))


def _by_validation(run: RunObject) -> Mapping[str, Any]:
    """The best error rate so far as a row of results: until a test set was scored, validation's."""
    best = run.status.get("bestCer") or {}
    return {"set": "validation", "model": "finetuned", "cer": best.get("percent")}


def _number(value: Any) -> float | None:
    """A status holds decimals as text; anybody with the right to may have written anything there."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
