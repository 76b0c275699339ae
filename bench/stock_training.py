"""Training speed and memory: FunASR's own trainer beside ours, on the same model, audio and batch size.

Both run on the CPU as processes of their own, in turn. Batches are limited in FunASR's unit (frames plus tokens,
padding included) but each side puts them together itself. Time counts from the second batch on, loading included.

    python bench/stock_training.py [--families ctc ...] [--steps 40] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch

from asrtune_trainer.data.utterance import read_utterances
from asrtune_trainer.telemetry.events import TrainStep
from tools import stock_trainer, training
from tools.tiny_models import write_stock_list

BATCH = 6000
UTTERANCES = 240
ENCODER = {"output_size": 192, "attention_heads": 4, "linear_units": 768, "num_blocks": 6}
MODELS: dict[str, dict[str, Any]] = {
    "ctc": {"encoder_conf": ENCODER},
    "paraformer": {
        "encoder_conf": ENCODER,
        "decoder_conf": {"attention_heads": 4, "linear_units": 768, "num_blocks": 3},
        "predictor_conf": {"idim": 192},
    },
    "sensevoice": {"encoder_conf": ENCODER},
}


@dataclass(frozen=True)
class Figures:
    """One run of one side."""

    steps_per_second: float
    utterances_per_second: float
    peak_mib: float


def measured(command: list[str], threads: int, result: Path) -> tuple[dict[str, Any], float]:
    """Run a process; what it left in `result`, and its peak resident set by the kernel's account."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return torch.load(result, weights_only=True), usage.ru_maxrss / 1024


def run_stock(root: Path, arguments: argparse.Namespace, sizes: list[int]) -> Figures:
    work = Path(tempfile.mkdtemp(dir=root))
    (work / "training.json").write_text(json.dumps(asdict(stock(root, work, arguments, record=False))))
    command = [sys.executable, stock_trainer.__file__, str(work / "training.json")]
    found, peak = measured(command, arguments.threads, work / "recorded.pt")
    seconds = found["starts"][-1] - found["starts"][1]
    return Figures((arguments.steps - 1) / seconds, sum(sizes[1:]) / seconds, peak)


def stock(
    root: Path, work: Path, arguments: argparse.Namespace, *, record: bool
) -> stock_trainer.StockTraining:
    return stock_trainer.StockTraining(
        directory=str(root / "model"),
        lines=str(root / "stock.jsonl"),
        work=str(work),
        batches=arguments.steps,
        batch_size=BATCH,
        threads=arguments.threads,
        record=record,
    )


def run_ours(root: Path, arguments: argparse.Namespace, *, cache: bool) -> Figures:
    work = Path(tempfile.mkdtemp(dir=root))
    command = [
        sys.executable,
        __file__,
        "--inside",
        str(root),
        "--work",
        str(work),
        "--steps",
        str(arguments.steps),
    ]
    found, peak = measured([*command, *(["--cache"] if cache else [])], arguments.threads, work / "times.pt")
    seconds = found["times"][-1] - found["times"][0]
    return Figures((arguments.steps - 1) / seconds, sum(found["utterances"][1:]) / seconds, peak)


def inside(arguments: argparse.Namespace) -> None:
    """Our side's process."""
    job = training.make_job(
        arguments.inside,
        batch={"unit": "Tokens", "size": BATCH},
        epochs=1000,
        maxSteps=arguments.steps,
        validation={"decodeUtterances": 0, "everySteps": 100_000},
        featureCacheMiB=4096 if arguments.cache else 0,
    )
    job = job.model_copy(update={"directory": arguments.work})
    times: list[float] = []

    class Clock(training.Recorder):
        def emit(self, event: Any) -> None:
            if isinstance(event, TrainStep):
                times.append(time.perf_counter())
            super().emit(event)

    training.Recorder = Clock  # type: ignore[misc]
    _, recorder = training.train_here(job)
    utterances = [event.batch_utterances for event in recorder.of(TrainStep)]
    torch.save({"times": times, "utterances": utterances}, arguments.work / "times.pt")


def compare(family: str, arguments: argparse.Namespace) -> None:
    root = Path(tempfile.mkdtemp(prefix="asrtune-bench-"))
    training.make_job(
        root, family=family, utterances=UTTERANCES, length=(20, 60), model_changes=MODELS[family]
    )
    write_stock_list(root / "stock.jsonl", list(read_utterances(root / "train.jsonl")))
    seen = stock_trainer.run_stock_trainer(stock(root, root / "seen", arguments, record=True))
    sizes = [len(batch["speech"]) for batch in seen.batches]
    rounds: list[dict[str, Figures]] = [
        {
            "FunASR's trainer": run_stock(root, arguments, sizes),
            "asrtune, no cache": run_ours(root, arguments, cache=False),
            "asrtune, cached features": run_ours(root, arguments, cache=True),
        }
        for _ in range(arguments.rounds)
    ]
    print(
        f"\n{family}: {arguments.steps} steps, {arguments.threads} threads, median of {arguments.rounds} rounds"
    )
    print("| side | steps/s | utterances/s | ratio | peak MiB |\n|---|---|---|---|---|")
    for side in rounds[0]:
        middle = [
            statistics.median(getattr(one[side], name) for one in rounds) for name in Figures.__annotations__
        ]
        ratio = statistics.median(
            one[side].utterances_per_second / one["FunASR's trainer"].utterances_per_second for one in rounds
        )
        print(f"| {side} | {middle[0]:.2f} | {middle[1]:.1f} | {ratio:.2f} | {middle[2]:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="+", default=sorted(MODELS), choices=sorted(MODELS))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside is not None:
        inside(arguments)
        return
    for family in arguments.families:
        compare(family, arguments)


if __name__ == "__main__":
    main()
