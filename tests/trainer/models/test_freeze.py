"""Freezing by component and by prefix; frozen parts stay still; parameters without gradients are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.models.base import Sample, SpeechModel
from asrtune_trainer.models.freeze import evaluation_mode, freeze, train_mode, unused_parameters
from asrtune_trainer.models.load import load_model
from tools.tiny_models import make_tiny_model

CPU = torch.device("cpu")
Samples = Callable[[SpeechModel], list[Sample]]


def _trainable(model: SpeechModel) -> set[str]:
    return {name for name, one in model.module.named_parameters() if one.requires_grad}


def test_components_cover_every_parameter_once(model: SpeechModel) -> None:
    prefixes = [prefix for group in model.components.values() for prefix in group]
    for name, _ in model.module.named_parameters():
        assert sum(name.startswith(prefix) for prefix in prefixes) == 1, name


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("ctc", {"encoder", "ctc"}),
        ("sensevoice", {"encoder", "ctc", "embed"}),
        ("paraformer", {"encoder", "decoder", "predictor", "ctc"}),
    ],
)
def test_components_of_the_families(family: str, expected: set[str], directories: dict[str, Path]) -> None:
    assert set(load_model(directories[family], device=CPU, seed=0).components) == expected


def test_freeze_a_component(model: SpeechModel, samples: Samples) -> None:
    report = freeze(model, ["encoder"])
    frozen = {name for name, _ in model.module.named_parameters() if name.startswith("encoder.")}
    assert _trainable(model) == {name for name, _ in model.module.named_parameters()} - frozen
    sizes = {name: one.numel() for name, one in model.module.named_parameters()}
    assert report.total_parameters == sum(sizes.values())
    assert report.trainable_parameters == sum(sizes.values()) - sum(sizes[name] for name in frozen)
    assert report.components["encoder"] == (0, sum(sizes[name] for name in frozen))
    assert report.components["ctc"][0] == report.components["ctc"][1] > 0
    model.forward(model.module, model.collate(samples(model)[:3])).loss.backward()
    assert all(one.grad is None for name, one in model.module.named_parameters() if name in frozen)
    assert model.module.get_parameter("ctc.ctc_lo.weight").grad is not None


def test_freeze_by_prefix_ends_at_a_dot(directories: dict[str, Path], tmp_path: Path) -> None:
    deep = make_tiny_model("ctc", tmp_path / "deep", encoder_conf={"num_blocks": 13})
    model = load_model(deep, device=CPU, seed=0)
    freeze(model, ["encoder.encoders.1", "ctc.ctc_lo.bias"])
    frozen = {name for name, _ in model.module.named_parameters()} - _trainable(model)
    assert "ctc.ctc_lo.bias" in frozen
    assert any(name.startswith("encoder.encoders.1.") for name in frozen)
    assert not any(name.startswith("encoder.encoders.11.") for name in frozen)
    freeze(model, ["ctc"])
    assert frozen <= {name for name, _ in model.module.named_parameters()} - _trainable(model)


def test_nothing_is_frozen_by_no_names(model: SpeechModel) -> None:
    report = freeze(model, [])
    assert report.trainable_parameters == report.total_parameters


@pytest.mark.parametrize("name", ["llm", "encoders", "encoder.enc", "", "."])
def test_unknown_names_are_refused_with_what_there_is(model: SpeechModel, name: str) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        freeze(model, [name])
    assert all(component in caught.value.remedy for component in model.components)


def test_frozen_parts_stay_in_evaluation_mode(directories: dict[str, Path], tmp_path: Path) -> None:
    path = make_tiny_model("ctc", tmp_path / "dropout", encoder_conf={"dropout_rate": 0.5})
    model = load_model(path, device=CPU, seed=0)
    train_mode(model)
    assert all(part.training for part in model.module.modules())
    freeze(model, ["encoder"])
    train_mode(model)
    assert not any(part.training for part in model.module.encoder.modules())  # type: ignore[union-attr]
    assert model.module.training
    assert model.module.ctc.training  # type: ignore[union-attr]
    speech, lengths = torch.randn(1, 10, 560), torch.tensor([10])
    first, second = (model.module.encode(speech.clone(), lengths)[0] for _ in range(2))  # type: ignore[operator]
    assert torch.equal(first, second), "no dropout in a frozen encoder"


def test_evaluation_mode_gives_each_part_back(model: SpeechModel) -> None:
    freeze(model, ["ctc"])
    train_mode(model)
    before = [part.training for part in model.module.modules()]
    with evaluation_mode(model.module):
        assert not any(part.training for part in model.module.modules())
    assert [part.training for part in model.module.modules()] == before


def test_every_parameter_of_the_families_gets_a_gradient(model: SpeechModel, samples: Samples) -> None:
    assert unused_parameters(model, model.collate(samples(model)[:4])) == []


def test_parameters_without_a_gradient_are_found(tmp_path: Path, samples: Samples) -> None:
    """Without sampling the target embedding of a Paraformer is never looked at."""
    path = make_tiny_model("paraformer", tmp_path / "model", model_conf={"sampling_ratio": 0.0})
    model = load_model(path, device=CPU, seed=0)
    batch = model.collate(samples(model)[:4])
    unused = unused_parameters(model, batch)
    assert unused == ["decoder.embed.0.weight"]
    freeze(model, unused)
    assert unused_parameters(model, batch) == []


def test_looking_for_them_changes_nothing(model: SpeechModel, samples: Samples) -> None:
    batch = model.collate(samples(model)[:4])
    model.forward(model.module, batch).loss.backward()
    gradients = {name: one.grad for name, one in model.module.named_parameters()}
    model.module.eval()
    state, random = {k: v.clone() for k, v in model.module.state_dict().items()}, torch.get_rng_state()
    unused_parameters(model, batch)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[key]) for key, value in model.module.state_dict().items())
    assert all(one.grad is gradients[name] for name, one in model.module.named_parameters())
    assert not model.module.training


class _Positions(torch.nn.Module):
    """Keeps its table, as FunASR's position encodings of Transformer and Conformer encoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.table = torch.zeros(0, 4)

    def forward(self, length: int) -> torch.Tensor:
        if len(self.table) < length:
            self.table = torch.ones(length, 4)
        result: torch.Tensor = self.linear(self.table[:length])
        return result


def test_what_a_layer_keeps_from_decoding_can_be_trained_with() -> None:
    layer = _Positions()
    with evaluation_mode(layer):
        assert not layer(9).requires_grad
    torch.autograd.backward(layer(5).sum())
    assert layer.linear.weight.grad is not None
