"""Same seed, same batches: our loop's losses are FunASR's own trainer's, step by step."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import Stores
from asrtune_trainer.telemetry.events import TrainStep
from asrtune_trainer.train.feed import Loaded
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.setup import set_up
from tools.stock_trainer import StockRun, StockTraining, run_stock_trainer
from tools.tiny_models import make_corpus, write_stock_list
from tools.training import Recorder, make_job

BATCHES = 50
TOLERANCE = 1e-5
DROPOUT = {"encoder_conf": {"dropout_rate": 0.1}}


class Recorded:
    """A feed of the batches that the stock trainer saw, with the random state that it drew from."""

    def __init__(self, run: StockRun, accumulate: int) -> None:
        self.run = run
        self.accumulate = accumulate

    def steps(self, _groups: object, _rank: int, accumulate: int) -> Iterator[list[Loaded]]:
        assert accumulate == self.accumulate
        for first in range(0, len(self.run.batches), accumulate):
            torch.set_rng_state(self.run.random_states[first])
            yield [
                Loaded(dict(batch), len(batch["speech"]), 0.0, np.arange(1))
                for batch in self.run.batches[first : first + accumulate]
            ]


def train_recorded(
    root: Path, run: StockRun, family: str, **params: object
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses by step and final weights of our loop over the recorded batches."""
    accumulate = int(str(params.get("accumulate", 1)))
    job = make_job(
        root,
        family=family,
        model_changes=DROPOUT,
        epochs=1,
        schedule="InverseSquareRoot",
        warmupSteps=10,
        weightDecay="0",
        learningRate="0.001",
        validation={"decodeUtterances": 0},
        **params,
    )
    recorder = Recorder()
    ready = set_up(
        job,
        Gang(0, 1, torch.device("cpu")),
        recorder,
        Mirror(Stores(), job.directory, job.stage_uri),
        StopSignal(),
    )
    trainer = ready.trainer
    assert trainer.model.module.state_dict().keys() == run.initial.keys()
    for name, tensor in trainer.model.module.state_dict().items():
        assert torch.equal(tensor, run.initial[name]), name
    trainer.feed = Recorded(run, accumulate)
    trainer.schedule = type(trainer.schedule)(0.001, 10, BATCHES, trainer.schedule.schedule)
    trainer.run()
    ready.checkpoints.close()
    return [event.loss for event in recorder.of(TrainStep)], trainer.model.module.state_dict()


@pytest.mark.parametrize("family", ["ctc", "paraformer", "sensevoice"])
@pytest.mark.parametrize(
    ("optimizer", "accumulate"), [("Adam", 1), pytest.param("AdamW", 2, marks=pytest.mark.soak)]
)
def test_losses_equal_stock(family, optimizer, accumulate, tmp_path):
    make_job(tmp_path, family=family, model_changes=DROPOUT)
    # Stock drops gradients that an epoch's end left waiting: with accumulation, all batches are of one epoch.
    corpus = make_corpus(tmp_path / "stock-audio", 40 if accumulate == 1 else 160)
    lines = write_stock_list(tmp_path / "stock.jsonl", corpus)
    run = run_stock_trainer(
        StockTraining(
            directory=str(tmp_path / "model"),
            lines=str(lines),
            work=str(tmp_path / "stock"),
            batches=BATCHES,
            optimizer=optimizer.lower(),
            accumulate=accumulate,
            batch_size=600 if accumulate == 1 else 300,
        )
    )
    torch.set_num_threads(1)
    ours, weights = train_recorded(tmp_path, run, family, optimizer=optimizer, accumulate=accumulate)
    stock = np.array(run.losses).reshape(-1, accumulate).mean(axis=1)
    assert len(ours) == BATCHES // accumulate
    worst = float(np.abs(np.array(ours) - stock).max())
    print(f"{family} {optimizer} x{accumulate}: largest difference of {len(ours)} losses {worst:.2e}")
    assert worst < TOLERANCE
    for name, tensor in run.final.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
