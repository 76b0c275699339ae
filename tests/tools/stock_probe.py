"""What stock FunASR makes of model directories, in a process of its own that never saw our code.

Run as a script with a file of jobs and a file for the results; `probe` does that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """A model directory to look at."""

    name: str
    directory: str
    audio: list[str]
    """Files to transcribe, one by one."""
    options: dict[str, str]
    """Options of `generate`."""
    lines: str = ""
    """A JSONL to make one batch of with FunASR's own data set; empty: none."""


def probe(jobs: list[Job], work: Path) -> dict[str, dict[str, Any]]:
    """Runs the jobs. Returns by name: state, texts, and with lines batch, loss, stats (at random seed 7), weight."""
    import torch  # noqa: PLC0415  not before the script's own imports

    (work / "jobs.json").write_text(json.dumps([asdict(job) for job in jobs]), "utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    run = subprocess.run(
        [sys.executable, __file__, str(work / "jobs.json"), str(work / "probed.pt")],
        env={**clean, "OMP_NUM_THREADS": "1"},
        cwd=work,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    results: dict[str, dict[str, Any]] = torch.load(work / "probed.pt", weights_only=True)
    return results


def _look(job: Job) -> dict[str, Any]:
    import torch  # noqa: PLC0415
    from funasr import AutoModel  # noqa: PLC0415
    from funasr.register import tables  # noqa: PLC0415

    stock = AutoModel(model=job.directory, device="cpu", ncpu=1, disable_update=True, disable_pbar=True)
    found: dict[str, Any] = {
        "state": {key: value.clone() for key, value in stock.model.state_dict().items()},
        "texts": [stock.generate(input=path, **job.options)[0]["text"] for path in job.audio],
    }
    if job.lines:
        settings = stock.kwargs
        dataset = tables.dataset_classes[settings["dataset"]](
            job.lines,
            frontend=settings["frontend"],
            tokenizer=settings["tokenizer"],
            is_training=True,
            **settings["dataset_conf"],
        )
        batch = dataset.collator([dataset[index] for index in range(len(dataset))])
        found["batch"] = {key: value.clone() for key, value in batch.items()}
        stock.model.train()
        torch.manual_seed(7)
        loss, stats, weight = stock.model(**batch)
        found |= {"loss": loss.detach(), "weight": weight}
        found["stats"] = {key: value for key, value in stats.items() if value is not None}
    return found


def _main() -> None:
    import torch  # noqa: PLC0415

    jobs = [Job(**job) for job in json.loads(Path(sys.argv[1]).read_text("utf-8"))]
    torch.save({job.name: _look(job) for job in jobs}, sys.argv[2])


if __name__ == "__main__":
    _main()
