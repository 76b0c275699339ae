"""FunASR's own trainer (`funasr.bin.train_ds`) on the CPU, recorded: what our training loop must equal.

It runs in a process of its own. Stock code is CUDA-only in two places; nothing else of it is changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StockTraining:
    """What to run."""

    directory: str
    """Model directory."""
    lines: str
    """JSONL of utterances, as FunASR's data sets read it (`tiny_models.write_stock_list`)."""
    work: str
    """An empty directory for its output."""
    batches: int = 50
    """How many batches; `batches // accumulate` optimiser steps."""
    learning_rate: float = 1e-3
    warmup_steps: int = 10
    """Of FunASR's WarmupLR: lr * warmup^0.5 * min(step^-0.5, step * warmup^-1.5), step from 1."""
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    """FunASR's name of it: adam or adamw."""
    gradient_clip: float = 5.0
    accumulate: int = 1
    batch_size: int = 1000
    """In units of FunASR's batch_type token: source_len + target_len, padding included."""
    seed: int = 0
    """Of FunASR itself, which seeds when it builds the model."""
    threads: int = 1
    record: bool = True
    """False keeps only losses, rates and times: to measure its speed."""


@dataclass(frozen=True)
class StockRun:
    """What it did; index = batch."""

    initial: dict[str, torch.Tensor]
    """State dict before the first batch."""
    batches: list[dict[str, torch.Tensor]]
    """The batches as the collator gave them, before the forward changed them."""
    random_states: list[torch.Tensor]
    """torch.get_rng_state() just before each forward: set it to draw the same."""
    losses: list[float]
    learning_rates: list[float]
    """The rate with which the optimiser stepped at (or, accumulating, would step after) this batch."""
    starts: list[float]
    """time.perf_counter() at the beginning of each forward, and after the last update."""
    final: dict[str, torch.Tensor]
    """State dict after the last update."""


def run_stock_trainer(training: StockTraining, *, timeout: float = 280) -> StockRun:
    """Trains for that many batches with FunASR's own trainer.

    Raises:
        AssertionError: it failed; its output is the message.
    """
    import torch  # noqa: PLC0415  not before the script's own imports

    work = Path(training.work)
    work.mkdir(parents=True, exist_ok=True)
    (work / "training.json").write_text(json.dumps(asdict(training)), "utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    run = subprocess.run(
        [sys.executable, __file__, str(work / "training.json")],
        env={**clean, "OMP_NUM_THREADS": str(training.threads)},
        cwd=work,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return StockRun(**torch.load(work / "recorded.pt", weights_only=True))


class _EnoughError(Exception):
    """The last batch is done."""


def _recorder(base: type[Any], training: StockTraining) -> type[Any]:
    """FunASR's Trainer, on the CPU, with a record of what passes."""
    import torch  # noqa: PLC0415

    def copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value.clone() for key, value in state.items()}

    class Recorder(base):  # type: ignore[misc]  # FunASR has no types
        # train_ds.main sets it to the number of a CUDA device.
        device = property(lambda _self: "cpu", lambda _self, _value: None)

        def warp_model(self, model: Any, **settings: Any) -> Any:
            model = super().warp_model(model, **{**settings, "device": "cpu"})
            self.kept: dict[str, Any] = {"initial": copy(model.state_dict())}
            for name in ("batches", "random_states", "losses", "learning_rates", "starts"):
                self.kept[name] = []
            return model

        def forward_step(self, model: Any, batch: Any, loss_dict: Any) -> None:
            if model.training:
                if training.record:
                    self.kept["batches"].append(copy(batch))
                    self.kept["random_states"].append(torch.get_rng_state())
                self.kept["starts"].append(time.perf_counter())
            super().forward_step(model, batch, loss_dict)

        def update_step(
            self, model: Any, optim: Any, scheduler: Any, scaler: Any, loss_dict: Any = None
        ) -> None:
            self.kept["losses"].append(loss_dict["loss"].item())
            self.kept["learning_rates"].append(optim.param_groups[0]["lr"])
            super().update_step(model, optim, scheduler, scaler, loss_dict)
            if len(self.kept["losses"]) == training.batches:
                self.kept["starts"].append(time.perf_counter())
                self.kept["final"] = copy(model.state_dict())
                torch.save(self.kept, Path(training.work) / "recorded.pt")
                raise _EnoughError

    return Recorder


def _main() -> None:
    from funasr.bin import train_ds  # noqa: PLC0415
    from funasr.download.download_model_from_hub import download_model  # noqa: PLC0415

    training = StockTraining(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    train_ds.Trainer = _recorder(train_ds.Trainer, training)
    settings = download_model(model=training.directory, is_training=True, check_latest=False)
    settings |= {
        "seed": training.seed,
        "ncpu": training.threads,
        "disable_update": True,
        "output_dir": str(Path(training.work) / "exp"),
        "train_data_set_list": training.lines,
        "valid_data_set_list": training.lines,
        "optim": training.optimizer,
        "optim_conf": {"lr": training.learning_rate, "weight_decay": training.weight_decay},
        "scheduler": "warmuplr",
        "scheduler_conf": {"warmup_steps": training.warmup_steps},
        "train_conf": {
            "accum_grad": training.accumulate,
            "grad_clip": training.gradient_clip,
            "max_epoch": 10_000,
            "resume": False,
            "log_interval": 1_000_000,
            "validate_interval": 1_000_000,
            "save_checkpoint_interval": 1_000_000,
        },
    }
    settings["dataset_conf"] |= {"batch_type": "token", "batch_size": training.batch_size, "num_workers": 0}
    try:
        train_ds.main(**settings)
    except _EnoughError:
        return
    raise SystemExit("the trainer ended too soon")


if __name__ == "__main__":
    _main()
