"""How fast data is prepared and simulated, and how soon a broken list is given up.

    .venv/bin/python bench/prepare.py [--utterances 4000] [--seconds 5] [--workers 2]

CPU seconds count the worker processes too: they hold on a busy machine, where wall-clock times do not.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from asrtune_api.errors import DataInvalidError
from asrtune_api.finetune import DataSpec
from asrtune_api.stages import PrepareParams, SimulateParams
from asrtune_trainer.data.lines import SourceList, survey
from asrtune_trainer.stages.prepare import PrepareStage
from asrtune_trainer.stages.simulate import SimulateStage
from tools.broken_data import make_broken_data
from tools.speech import write_speech
from tools.stages import data_spec, finished, stage_context

Result = TypeVar("Result")
BROKEN_LINES = 20_000
LONG_LIST = 1_000_000


def write_corpus(root: Path, utterances: int, seconds: float) -> DataSpec:
    """A training list of different recordings, and one utterance to validate with."""
    lists = {}
    for name, count in (("train", utterances), ("validation", 1)):
        lists[name] = root / f"{name}.jsonl"
        with lists[name].open("w") as lines:
            for number in range(count):
                audio = write_speech(root / name / f"{number}.wav", seconds, number + (name == "train"))
                line = {"key": f"u{number}", "source": str(audio), "target": f"这是第 {number} 句话"}
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    return data_spec([lists["train"]], lists["validation"])


def cpu_seconds() -> float:
    """Of this process and its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(what: str, count: int, work: Callable[[], Result]) -> Result:
    """Print what a piece of work took."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    result = work()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    print(
        f"| {what} | {count:,} | {wall:.1f} | {count / wall:,.0f} | {cpu:.1f} | {count / cpu:,.0f} |",
        flush=True,
    )
    return result


def give_up(root: Path, workers: int) -> None:
    """Prepare a list of which every second line is broken."""
    data = make_broken_data(root / "broken", lines=BROKEN_LINES, percent=50, files=500)
    spec = data_spec([data.train], data.validation, data.test)
    context = stage_context(root / "given-up", PrepareParams(workers=workers), spec)

    def attempt() -> str:
        try:
            PrepareStage().run(context)
        except DataInvalidError as error:
            return str(error)
        raise AssertionError

    print("\n" + measure(f"stop at 50 % broken of {BROKEN_LINES:,} lines", BROKEN_LINES, attempt) + "\n")


def main() -> None:
    """Measure every step and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        spec = write_corpus(root, options.utterances, options.seconds)
        prepare = stage_context(root / "run", PrepareParams(workers=options.workers), spec)
        print(f"{options.seconds:g} s utterances (16-bit WAV), {options.workers} processes\n")
        print("| step | items | wall s | items a second | CPU s | items a CPU second |")
        print("|---|---|---|---|---|---|")
        measure("inputs (is anything changed?)", options.utterances, lambda: PrepareStage().inputs(prepare))
        result = measure("Prepare", options.utterances, lambda: PrepareStage().run(prepare))
        upstream = {"prepare": finished(prepare, result)}
        simulate = stage_context(
            root / "run", SimulateParams(workers=options.workers), spec, upstream=upstream
        )
        measure("Simulate", options.utterances, lambda: SimulateStage().run(simulate))
        measure("Simulate again (all there)", options.utterances, lambda: SimulateStage().run(simulate))
        long = root / "long.jsonl"
        lines = (root / "train.jsonl").read_text()
        long.write_text(lines.replace('"key": "u', '"key": "x') * (LONG_LIST // options.utterances))
        source = SourceList("train", "long", str(long), long, remove_event_tags=True)
        measure("read, normalise and find duplicates", LONG_LIST, lambda: survey(source))
        give_up(root, options.workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the main process: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
