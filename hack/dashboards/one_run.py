"""One run: how far, how good, how fast, what it waits for, and what was lost."""

from __future__ import annotations

from typing import Final

from dashboards.model import Board, Colour, Kind, Mark, Panel, Query, Row, Variable
from dashboards.promql import lasting, of_pods, of_run

STAGE_STATES: Final = {
    0: ("Pending", Colour.GREY),
    1: ("Running", Colour.BLUE),
    2: ("Interrupted", Colour.ORANGE),
    3: ("Failed", Colour.RED),
    4: ("Succeeded", Colour.GREEN),
    5: ("Skipped", Colour.YELLOW),
}
"""A timeline draws numbers: the code of each state of a stage."""
_WAITS: Final = f"{of_run('asrtune_run_condition', condition='Running', reason='!Finished')} == 0"
_TRAINS: Final = of_run("asrtune_run_stage_state", type="Train", state="Running")


def _state_codes() -> str:
    ones = (
        f"{code} * {of_run('asrtune_run_stage_state', state=name)}"
        for code, (name, _) in STAGE_STATES.items()
    )
    return f"max by (stage) ({' or '.join(ones)})"


def _number(title: str, text: str, expression: str, **options: object) -> Panel:
    legend = str(options.pop("legend", ""))
    given = {"kind": Kind.NUMBER, "width": 3, "height": 4, "lasts": True} | options
    return Panel(title=title, text=text, queries=[Query(expression, legend)], **given)  # type: ignore[arg-type]


_NOW: Final = Row(
    "Now",
    [
        _number(
            "Phase",
            "The state in one word; `kubectl asrtune status` says more.",
            f"{of_run('asrtune_run_phase')} == 1",
            legend="{{phase}}",
            names=True,
        ),
        _number(
            "Progress",
            "Share of the whole chain that is done.",
            of_run("asrtune_run_progress_percent"),
            unit="percent",
        ),
        _number(
            "Time left",
            "A guess by the speed so far; empty while nobody can know.",
            of_run("asrtune_run_eta_seconds"),
            unit="s",
            lasts=False,
        ),
        _number(
            "Waits for",
            "Why no pods run. `kubectl asrtune why RUN` has the sentence and the remedy.",
            _WAITS,
            legend="{{reason}}",
            names=True,
            lasts=False,
        ),
        _number("GPUs held", "GPUs of its pods that are on a node.", of_run("asrtune_run_gpus")),
        _number("GPU time", "Held by all attempts.", of_run("asrtune_run_gpu_seconds"), unit="s"),
        _number(
            "Lost GPU time",
            "Work that had to be done again; the reasons are below.",
            of_run("asrtune_run_lost_gpu_seconds"),
            unit="s",
        ),
        _number(
            "Cost",
            "GPU time times the runtime's price, in its currency; empty without a price.",
            of_run("asrtune_run_cost"),
            decimals=2,
        ),
    ],
)
_QUALITY: Final = Row(
    "How good",
    [
        Panel(
            title="Loss",
            text="Training loss between two log lines, and validation's. Validation that rises while training falls: "
            "overfitting; neither falls: learning rate or data. Not a number: see skipped steps.",
            queries=[
                Query(lasting("asrtune_train_loss", "asrtune_run_loss"), "training {{stage}}"),
                Query(of_pods("asrtune_validation_loss"), "validation {{stage}}"),
            ],
            lasts=True,
        ),
        Panel(
            title="Accuracy",
            text="Share of tokens that were right, in training and validation; models without such a figure "
            "have none.",
            queries=[
                Query(of_pods("asrtune_train_accuracy_ratio"), "training {{stage}}"),
                Query(of_pods("asrtune_validation_accuracy_ratio"), "validation {{stage}}"),
            ],
            unit="percentunit",
        ),
        Panel(
            title="Error rate",
            text="CER or WER in percent by test set and model, with its 95 % interval as thin lines; by validation "
            "until a test set was scored. Intervals that overlap: the difference may be luck.",
            queries=[
                Query(of_run("asrtune_run_error_rate"), "{{set}} {{model}}"),
                Query(of_run("asrtune_run_error_rate_low"), "{{set}} {{model}}, lower end"),
                Query(of_run("asrtune_run_error_rate_high"), "{{set}} {{model}}, upper end"),
                Query(f"100 * {of_pods('asrtune_validation_cer_ratio')}", "validation"),
            ],
            unit="percent",
            lasts=True,
        ),
        Panel(
            title="Error rates by set",
            text="What the report says, in percent: rate and 95 % interval of each test set and model.",
            queries=[
                Query(f"max by (set, model, metric) ({of_run(f'asrtune_run_error_rate{end}')})", name)
                for end, name in (("", "error rate"), ("_low", "lower end"), ("_high", "upper end"))
            ],
            kind=Kind.TABLE,
            lasts=True,
        ),
        Panel(
            title="Learning rate",
            text="Of the first parameter group.",
            queries=[Query(of_pods("asrtune_train_learning_rate"), "{{stage}}")],
        ),
        Panel(
            title="Gradients",
            text="Mean norm before clipping, and steps skipped so far because a gradient was not finite. Skipped "
            "steps that grow: lower the learning rate or use bf16.",
            queries=[
                Query(of_pods("asrtune_train_gradient_norm"), "norm {{stage}}"),
                Query(of_pods("asrtune_train_skipped_steps"), "skipped steps {{stage}}"),
            ],
        ),
    ],
)
_SPEED: Final = Row(
    "How fast",
    [
        Panel(
            title="Throughput",
            text="Utterances trained on in a second. Falls to nothing while GPUs are held: see what the run "
            "waits for.",
            queries=[
                Query(
                    lasting("asrtune_train_utterances_per_second", "asrtune_run_utterances_per_second"),
                    "utterances/s",
                )
            ],
            lasts=True,
        ),
        Panel(
            title="Where a step's time goes",
            text="Mean seconds of an optimiser step by phase. Data on top: more workers, or storage that is too "
            "slow.",
            queries=[Query(of_pods("asrtune_train_phase_seconds", "phase"), "{{phase}}")],
            unit="s",
            stacked=True,
        ),
        Panel(
            title="Data wait",
            text="Share of a step that waits for data. Over 10 %: raise train.workers or the node's CPUs; over 30 %: "
            "the GPU is idle for want of data.",
            queries=[Query(of_pods("asrtune_train_data_wait_ratio"), "{{stage}}")],
            unit="percentunit",
            steps=[(None, Colour.GREEN), (0.1, Colour.ORANGE), (0.3, Colour.RED)],
        ),
        Panel(
            title="Memory",
            text="Peak memory: allocated on the GPU, or resident where there is none. Near the GPU's size: lower "
            "train.batch.size before it ends in OutOfMemory.",
            queries=[Query(of_pods("asrtune_train_memory_peak_bytes"), "peak {{stage}}")],
            unit="bytes",
        ),
        Panel(
            title="GPU utilisation",
            text="From NVIDIA's dcgm-exporter, where the cluster has it; empty otherwise. Low with data wait: data; "
            "low without: batches that are too small.",
            queries=[
                Query(
                    'avg by (pod, gpu) (DCGM_FI_DEV_GPU_UTIL{namespace="$namespace",pod=~"$run-.*"})'
                    " or avg by (exported_pod, gpu) "
                    '(DCGM_FI_DEV_GPU_UTIL{exported_namespace="$namespace",exported_pod=~"$run-.*"})',
                    "{{pod}}{{exported_pod}} GPU {{gpu}}",
                )
            ],
            unit="percent",
            largest=100,
        ),
        Panel(
            title="Steps",
            text="Optimiser steps done, of the last checkpoint, and planned. The distance to the checkpoint is what "
            "an interruption would cost.",
            queries=[
                Query(of_run("asrtune_run_step"), "done"),
                Query(of_run("asrtune_run_checkpoint_step"), "checkpoint"),
                Query(of_run("asrtune_run_steps_planned"), "planned"),
            ],
            lasts=True,
        ),
    ],
)
_CHAIN: Final = Row(
    "What happened",
    [
        Panel(
            title="Stages",
            text="State of each stage. Interrupted: its pods were lost, and it goes on from its checkpoint.",
            queries=[Query(_state_codes(), "{{stage}}")],
            kind=Kind.TIMELINE,
            width=16,
            states=STAGE_STATES,
            lasts=True,
        ),
        Panel(
            title="Checkpoint age",
            text="Time since the last complete checkpoint while a stage trains. Far over the usual distance: "
            "storage is slow or full.",
            queries=[
                Query(
                    f"(time() - max by (namespace) ({of_run('asrtune_run_checkpoint_timestamp_seconds')}))"
                    f" and on (namespace) {_TRAINS}",
                    "age",
                )
            ],
            unit="s",
            steps=[(None, Colour.GREEN), (1800, Colour.ORANGE), (3600, Colour.RED)],
        ),
        Panel(
            title="Restarts",
            text="Attempts that ended before their stage's end. failure counts against runPolicy.maxRetries; "
            "interruption (preemption, a lost node, a drain) does not.",
            queries=[Query(f"sum by (cause) ({of_run('asrtune_run_stage_restarts')})", "{{cause}}")],
            lasts=True,
        ),
        Panel(
            title="GPU time held and lost",
            text="Seconds. What is lost was done since the last checkpoint of an attempt that was cut off.",
            queries=[
                Query(of_run("asrtune_run_gpu_seconds"), "held"),
                Query(of_run("asrtune_run_lost_gpu_seconds"), "lost"),
            ],
            unit="s",
            lasts=True,
        ),
        Panel(
            title="Lost GPU time by reason",
            text="Why work had to be done again, by the verdict of the attempt.",
            queries=[Query(of_run("asrtune_run_lost_gpu_seconds_by_reason"), "{{reason}}")],
            kind=Kind.BARS,
            unit="s",
            lasts=True,
        ),
    ],
)
_RESTARTS: Final = of_run("asrtune_run_stage_restarts")
_ENDS: Final = f"{of_run('asrtune_run_condition', condition='Complete|Failed|Stalled')} == 1"
BOARD: Final = Board(
    uid="asrtune-run",
    title="asrtune / one run",
    text="How far a run is, how good, how fast, what it waits for, and what was lost.",
    variables=[
        Variable("namespace", "Namespace", "label_values(asrtune_run_phase, namespace)"),
        Variable("kind", "Kind", 'label_values(asrtune_run_phase{namespace="$namespace"}, kind)'),
        Variable("run", "Run", 'label_values(asrtune_run_phase{namespace="$namespace",kind="$kind"}, name)'),
    ],
    rows=[_NOW, _QUALITY, _SPEED, _CHAIN],
    marks=[
        Mark("Restart", f"sum by (stage, cause) (changes({_RESTARTS}[$__interval]) > 0)", Colour.ORANGE),
        Mark(
            "Complete, Failed or Stalled",
            f"{_ENDS} unless {_ENDS.replace(' == 1', ' offset $__interval == 1')}",
            Colour.RED,
        ),
    ],
)
