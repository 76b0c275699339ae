"""All runs: what goes on, what waits and why, and what it costs."""

from __future__ import annotations

from typing import Final

from dashboards.model import Board, Colour, Kind, Panel, Query, Row, Variable
from dashboards.promql import of_fleet, spent

_WAITING: Final = f"{of_fleet('asrtune_run_condition', condition='Running', reason='!Finished')} == 0"
_GPU_TIME: Final = of_fleet("asrtune_run_gpu_seconds")
_LOST: Final = of_fleet("asrtune_run_lost_gpu_seconds")
_LOST_BY_REASON: Final = of_fleet("asrtune_run_lost_gpu_seconds_by_reason")


def _largest(metric: str) -> str:
    """A figure of those ten runs that used most GPU time."""
    best = f"topk(10, {_GPU_TIME})"
    return f"max by (kind, namespace, name) ({of_fleet(metric)} and on (kind, namespace, name) {best})"


_NOW: Final = Row(
    "Now",
    [
        Panel(
            title="Runs by phase",
            text="Every ASRFinetune and ASREvaluation that exists. Many in Queued: see why they wait, at the right.",
            queries=[Query(f"sum by (phase) ({of_fleet('asrtune_runs')})", "{{phase}}")],
            kind=Kind.BARS,
            height=6,
            lasts=True,
        ),
        Panel(
            title="Why runs wait",
            text="Runs without running pods, by reason; what each asks for is in the troubleshooting page, and in "
            "`kubectl asrtune why RUN`.",
            queries=[Query(f"count by (reason) ({_WAITING})", "{{reason}}")],
            kind=Kind.BARS,
            width=7,
            height=6,
            lasts=True,
        ),
        Panel(
            title="GPUs held",
            text="GPUs of pods that are on a node and have not ended, whether they compute or not.",
            queries=[Query(f"sum({of_fleet('asrtune_run_gpus')})")],
            kind=Kind.NUMBER,
            width=3,
            height=6,
            lasts=True,
        ),
        Panel(
            title="Failed runs by verdict",
            text="What ended them. SpecInvalid, DataInvalid and OutOfMemory need their owner; InternalError and "
            "StorageUnavailable need you.",
            queries=[
                Query(
                    f"count by (reason) ({of_fleet('asrtune_run_condition', condition='Failed')} == 1)",
                    "{{reason}}",
                )
            ],
            kind=Kind.BARS,
            width=6,
            height=6,
            lasts=True,
        ),
    ],
)
_SPENT: Final = Row(
    "Spent in this time",
    [
        Panel(
            title="GPU time",
            text="GPU time that pods have held within the dashboard's time. Runs that were deleted since count, too.",
            queries=[Query(f"sum({spent(_GPU_TIME)})")],
            kind=Kind.NUMBER,
            unit="s",
            width=5,
            height=6,
            lasts=True,
        ),
        Panel(
            title="Productive",
            text="Share of it whose work did not have to be done again. Below 95 %: see the reasons, at the right.",
            queries=[Query(f"1 - sum({spent(_LOST)}) / (sum({spent(_GPU_TIME)}) > 0)")],
            kind=Kind.NUMBER,
            unit="percentunit",
            width=4,
            height=6,
            lasts=True,
            steps=[(None, Colour.RED), (0.8, Colour.ORANGE), (0.95, Colour.GREEN)],
        ),
        Panel(
            title="Lost GPU time by reason",
            text="Work since the last checkpoint of attempts that were cut off. Preempted and NodeLost: save "
            "checkpoints more often (checkpoint.everySteps); Stalled: see that run; OutOfMemory: a smaller batch.",
            queries=[Query(f"sum by (reason) ({spent(_LOST_BY_REASON)})", "{{reason}}")],
            kind=Kind.BARS,
            unit="s",
            width=10,
            height=6,
            lasts=True,
        ),
        Panel(
            title="Cost",
            text="GPU time times the runtime's gpuPricePerHour, in its currency.",
            queries=[Query(f"sum({spent(of_fleet('asrtune_run_cost'))})")],
            kind=Kind.NUMBER,
            width=5,
            decimals=2,
            height=6,
            lasts=True,
        ),
    ],
)
_COURSE: Final = Row(
    "Over time",
    [
        Panel(
            title="Phases",
            text="Runs by phase. Queued that only grows: the cluster is too small, or a queue's quota is.",
            queries=[Query(f"sum by (phase) ({of_fleet('asrtune_runs')})", "{{phase}}")],
            stacked=True,
            lasts=True,
        ),
        Panel(
            title="Waiting",
            text="Runs without running pods, by reason.",
            queries=[Query(f"count by (reason) ({_WAITING})", "{{reason}}")],
            stacked=True,
            lasts=True,
        ),
        Panel(
            title="GPUs held by namespace",
            text="Who holds them. Held, but no throughput in the run's own dashboard: they are idle.",
            queries=[Query(f"sum by (namespace) ({of_fleet('asrtune_run_gpus')})", "{{namespace}}")],
            stacked=True,
            lasts=True,
        ),
    ],
)
_TOP: Final = Row(
    "Runs",
    [
        Panel(
            title="Runs with the most GPU time",
            text="The ten dearest runs that exist. A name leads to the run's own dashboard. The error rate is the "
            "lowest one of a model that the run made.",
            queries=[
                Query(_largest("asrtune_run_gpu_seconds"), "GPU time"),
                Query(_largest("asrtune_run_lost_gpu_seconds"), "lost"),
                Query(_largest("asrtune_run_cost"), "cost"),
                Query(_largest("asrtune_run_progress_percent"), "progress"),
                Query(
                    "min by (kind, namespace, name) "
                    f"({of_fleet('asrtune_run_error_rate', model='!base')} and on (kind, namespace, name) "
                    f"topk(10, {_GPU_TIME}))",
                    "error rate",
                ),
            ],
            kind=Kind.TABLE,
            width=14,
            height=8,
            lasts=True,
            run_links=True,
        ),
        Panel(
            title="Runs that wait",
            text="Each with its reason.",
            queries=[Query(f"max by (kind, namespace, name, reason) ({_WAITING})")],
            kind=Kind.TABLE,
            width=10,
            height=8,
            lasts=True,
            run_links=True,
        ),
    ],
)
BOARD: Final = Board(
    uid="asrtune-fleet",
    title="asrtune / fleet",
    text="Which runs there are, what waits and why, what the GPUs do, and what it costs.",
    variables=[
        Variable("namespace", "Namespace", "label_values(asrtune_run_phase, namespace)", several=True),
    ],
    rows=[_NOW, _SPENT, _COURSE, _TOP],
)
