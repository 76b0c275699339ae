"""The operator: does it work, how fast, what fails, and what it takes."""

from __future__ import annotations

from typing import Final

from dashboards.model import Board, Colour, Kind, Panel, Query, Row, Variable
from dashboards.promql import of_operator

_LEADS: Final = f"{of_operator('asrtune_operator_leading')} == 1"


def _age(moment: str) -> str:
    last = of_operator(f"asrtune_operator_last_{moment}_timestamp_seconds")
    return f"time() - max({last} and on (instance) {_LEADS})"


def _quantile(share: float, metric: str, label: str) -> str:
    rate = f"rate({of_operator(f'asrtune_operator_{metric}_seconds_bucket')}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le, {label}) ({rate}))"


def _rate(metric: str, *labels: str) -> str:
    return f"sum by ({', '.join(labels)}) (rate({of_operator(metric)}[$__rate_interval]))"


_NOW: Final = Row(
    "Now",
    [
        Panel(
            title="Leaders",
            text="Replicas that work: 1. None: no lease could be had, or no operator runs; runs go on, but "
            "nothing starts.",
            queries=[Query(f"sum({of_operator('asrtune_operator_leading')})")],
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps=[(None, Colour.RED), (1, Colour.GREEN), (2, Colour.RED)],
        ),
        Panel(
            title="Runs",
            text="Runs that it looks after, finished ones included.",
            queries=[Query("sum(asrtune_runs)")],
            kind=Kind.NUMBER,
            width=4,
            height=4,
        ),
        Panel(
            title="Last look at a run",
            text="Time since. Old while runs wait for their turn: it hangs, and /healthz says so.",
            queries=[Query(_age("reconcile"))],
            kind=Kind.NUMBER,
            unit="s",
            width=4,
            height=4,
            steps=[(None, Colour.GREEN), (600, Colour.ORANGE)],
        ),
        Panel(
            title="Last event",
            text="Time since a watch had news. Old while pods come and go: the watches are down.",
            queries=[Query(_age("event"))],
            kind=Kind.NUMBER,
            unit="s",
            width=4,
            height=4,
            steps=[(None, Colour.GREEN), (1800, Colour.ORANGE)],
        ),
        Panel(
            title="Last complete list",
            text="Time since everything was listed, which heals what a watch missed.",
            queries=[Query(_age("resync"))],
            kind=Kind.NUMBER,
            unit="s",
            width=4,
            height=4,
            steps=[(None, Colour.GREEN), (3600, Colour.ORANGE)],
        ),
        Panel(
            title="Up for",
            text="Time since the process began. Short again and again: see the pod's last termination.",
            queries=[Query(f"time() - max({of_operator('process_start_time_seconds')})")],
            kind=Kind.NUMBER,
            unit="s",
            width=4,
            height=4,
        ),
    ],
)
_WORK: Final = Row(
    "Work",
    [
        Panel(
            title="Time of a look",
            text="From taking a run out of the queue to having carried out what was decided. p99 over 1 s: a slow "
            "API server, or a webhook.",
            queries=[
                Query(_quantile(0.5, "reconcile", "kind"), "{{kind}} p50"),
                Query(_quantile(0.99, "reconcile", "kind"), "{{kind}} p99"),
            ],
            unit="s",
            steps=[(None, Colour.GREEN), (1, Colour.ORANGE)],
        ),
        Panel(
            title="Looks",
            text="A second, by kind of run.",
            queries=[Query(_rate("asrtune_operator_reconcile_seconds_count", "kind"), "{{kind}}")],
            unit="ops",
        ),
        Panel(
            title="Errors",
            text="Looks that failed, a second; each is tried again. ApiError with code 403 in the requests: rights "
            "are missing; anything but Api...Error: a bug of ours, its log line has the traceback.",
            queries=[
                Query(_rate("asrtune_operator_reconcile_errors_total", "kind", "error"), "{{kind}} {{error}}")
            ],
            unit="ops",
        ),
        Panel(
            title="Queue",
            text="Runs that wait for their turn, are looked at, or will be looked at later. Waiting that only grows: "
            "more --workers, or see the time of a look.",
            queries=[Query(f"sum by (state) ({of_operator('asrtune_operator_queue_depth')})", "{{state}}")],
        ),
        Panel(
            title="Oldest in the queue",
            text="How long the first in line has waited.",
            queries=[Query(f"max({of_operator('asrtune_operator_queue_oldest_seconds')})", "oldest")],
            unit="s",
            steps=[(None, Colour.GREEN), (10, Colour.ORANGE), (60, Colour.RED)],
        ),
        Panel(
            title="Watch events",
            text="News a second, by resource.",
            queries=[Query(_rate("asrtune_operator_watch_events_total", "resource"), "{{resource}}")],
            unit="ops",
        ),
    ],
)
_API: Final = Row(
    "API server",
    [
        Panel(
            title="Requests by verb",
            text="A second.",
            queries=[Query(_rate("asrtune_operator_api_request_seconds_count", "verb"), "{{verb}}")],
            unit="reqps",
        ),
        Panel(
            title="Answers by code",
            text="A second. 403: rights; 409: somebody else wrote meanwhile, harmless; 422: a webhook or a quota "
            "refuses; 429 and 5..: the API server is overloaded.",
            queries=[Query(_rate("asrtune_operator_api_request_seconds_count", "code"), "{{code}}")],
            unit="reqps",
        ),
        Panel(
            title="Time of a request",
            text="99 of 100 are faster, by verb.",
            queries=[Query(_quantile(0.99, "api_request", "verb"), "{{verb}} p99")],
            unit="s",
        ),
    ],
)
_PROCESS: Final = Row(
    "Process",
    [
        Panel(
            title="Memory",
            text="Resident. Grows with the number of runs and their pods.",
            queries=[Query(of_operator("process_resident_memory_bytes"), "{{instance}}")],
            unit="bytes",
            width=12,
        ),
        Panel(
            title="CPU",
            text="Cores. One event loop: it cannot take much more than 1, and near 1 it is the bottleneck.",
            queries=[
                Query(f"rate({of_operator('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}")
            ],
            width=12,
            steps=[(None, Colour.GREEN), (0.8, Colour.RED)],
        ),
    ],
)
BOARD: Final = Board(
    uid="asrtune-operator",
    title="asrtune / operator",
    text="Whether the operator works, how fast, what fails, and what it takes.",
    variables=[Variable("job", "Job", "label_values(asrtune_operator_leading, job)", several=True)],
    rows=[_NOW, _WORK, _API, _PROCESS],
)
