"""The recorder of FunASR's own trainer records what it says: its batches give its losses, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.freeze import train_mode
from asrtune_trainer.models.load import load_model
from tools.stock_trainer import StockTraining, run_stock_trainer
from tools.tiny_models import write_stock_list


def test_recorded_batches_give_the_recorded_losses_and_weights(
    directories: dict[str, Path], corpus: list[Utterance], tmp_path: Path
) -> None:
    lines = write_stock_list(tmp_path / "lines.jsonl", corpus)
    training = StockTraining(
        str(directories["paraformer"]), str(lines), str(tmp_path / "stock"), batches=12, batch_size=1500
    )
    stock = run_stock_trainer(training)
    model = load_model(directories["paraformer"], device=torch.device("cpu"), seed=0)
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=training.learning_rate, weight_decay=0.0)
    train_mode(model)
    losses = []
    for batch, state, rate in zip(stock.batches, stock.random_states, stock.learning_rates, strict=True):
        torch.set_rng_state(state)
        result = model.forward(model.module, batch)
        losses.append(result.loss.item())
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.module.parameters(), training.gradient_clip)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    assert losses == pytest.approx(stock.losses, abs=1e-5)
    assert len({batch["speech"].shape for batch in stock.batches}) > 2
    assert stock.learning_rates[0] < max(stock.learning_rates)
    final = model.module.state_dict()
    assert all(torch.allclose(final[key], value, atol=1e-6) for key, value in stock.final.items())
    assert any(not torch.equal(stock.initial[key], value) for key, value in stock.final.items())
