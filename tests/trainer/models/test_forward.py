"""The forward pass leaves the batch alone, and its gradients are those of code without in-place operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import Sample, SpeechModel
from asrtune_trainer.models.freeze import freeze, train_mode
from asrtune_trainer.models.funasr_import import funasr_module
from asrtune_trainer.models.load import load_model
from tools.tiny_models import make_tiny_model

CPU = torch.device("cpu")
Samples = Callable[[SpeechModel], list[Sample]]


def test_the_batch_stays_as_it_is(model: SpeechModel, samples: Samples) -> None:
    batch = model.collate(samples(model))
    before = {key: value.clone() for key, value in batch.items()}
    train_mode(model)
    torch.manual_seed(1)
    first = model.forward(model.module, batch)
    assert all(torch.equal(batch[key], value) for key, value in before.items())
    torch.manual_seed(1)
    assert model.forward(model.module, batch).loss.item() == first.loss.item()


def test_specaug_masks_a_copy(tmp_path: Path, samples: Samples) -> None:
    """FunASR's SpecAug masks its input in place."""
    specaug = {"apply_time_warp": False, "freq_mask_width_range": [0, 30], "time_mask_width_range": [0, 12]}
    path = make_tiny_model("ctc", tmp_path / "model", specaug_conf=specaug)
    text = (path / "config.yaml").read_text("utf-8")
    (path / "config.yaml").write_text(f"specaug: SpecAug\n{text}", "utf-8")
    model = load_model(path, device=CPU, seed=0)
    batch = model.collate(samples(model))
    before = batch["speech"].clone()
    train_mode(model)
    losses = {model.forward(model.module, batch).loss.item() for _ in range(3)}
    assert len(losses) == 3, "it must be at work"
    assert torch.equal(batch["speech"], before)


def test_results_are_scalars(model: SpeechModel, samples: Samples) -> None:
    result = model.forward(model.module, model.collate(samples(model)))
    assert result.loss.shape == result.weight.shape == ()
    assert result.loss.requires_grad
    assert all(value.shape == () and not value.requires_grad for value in result.stats.values())
    assert ("acc" in result.stats) == (model.family == "paraformer")


def _fsmn_out_of_place(
    self: Any, inputs: torch.Tensor, mask: torch.Tensor, _chunk: Any = None
) -> torch.Tensor:
    mask = mask.reshape(len(inputs), -1, 1)
    inputs = inputs * mask
    memory = self.fsmn_block(self.pad_fn(inputs.transpose(1, 2))).transpose(1, 2)
    return self.dropout(memory + inputs) * mask  # type: ignore[no-any-return]


def _encode_out_of_place(self: Any, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
    mask = (torch.arange(speech.shape[1]) < lengths[:, None]).float()[:, None, :]
    speech = self.embed(speech * self.output_size() ** 0.5)
    for layer in [*self.encoders0, *self.encoders]:
        speech = layer(speech, mask)[0]
    speech = self.after_norm(speech)
    for layer in self.tp_encoders:
        speech = layer(speech, mask)[0]
    return self.tp_norm(speech), lengths.int()


@pytest.mark.parametrize("family", ["ctc", "sensevoice"])
@pytest.mark.parametrize("frozen", [[], ["ctc"], ["encoder"]])
def test_gradients_equal_those_without_in_place_operations(
    family: str,
    frozen: list[str],
    directories: dict[str, Path],
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gradients() -> dict[str, torch.Tensor]:
        model = load_model(directories[family], device=CPU, seed=0)
        freeze(model, frozen)
        train_mode(model)
        torch.manual_seed(1)
        model.forward(model.module, model.collate(samples(model)[:4])).loss.backward()
        named = model.module.named_parameters()
        return {name: one.grad for name, one in named if one.grad is not None}

    own = gradients()
    stock = funasr_module("funasr.models.sense_voice.model")
    monkeypatch.setattr(stock.MultiHeadedAttentionSANM, "forward_fsmn", _fsmn_out_of_place)
    monkeypatch.setattr(stock.SenseVoiceEncoderSmall, "forward", _encode_out_of_place)
    reference = gradients()
    assert own.keys() == reference.keys()
    assert len(own) > 0
    for name, value in reference.items():
        torch.testing.assert_close(own[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpoints_of_the_encoder_give_the_same_gradients(
    model: SpeechModel, reentrant: bool
) -> None:
    """FunASR's encoder scales its input in place: unprotected, this fails or gives wrong gradients."""
    encoder: Any = model.module.encoder
    lengths = torch.tensor([20, 15])

    def gradients(run: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        speech = torch.randn(2, 20, 560, generator=torch.Generator().manual_seed(1)).requires_grad_()
        encoder.zero_grad()
        run(speech, lengths).square().mean().backward()
        assert speech.grad is not None
        return [speech.grad, *(one.grad.clone() for one in encoder.parameters())]

    plain = gradients(lambda speech, lengths: encoder(speech, lengths)[0])
    again = gradients(
        lambda *inputs: checkpoint(lambda *own: encoder(*own)[0], *inputs, use_reentrant=reentrant)
    )
    for first, second in zip(plain, again, strict=True):
        torch.testing.assert_close(first, second)


def test_an_utterance_without_language_has_no_language_target(
    directories: dict[str, Path], corpus: list[Utterance], samples: Samples
) -> None:
    model = load_model(directories["sensevoice"], device=CPU, seed=0)
    waveform = torch.randn(5 * 16_000, generator=torch.Generator().manual_seed(1)).numpy() * 0.1
    known = model.sample(waveform, corpus[0]).tokens
    for language in ("", "de"):
        fields = {name: getattr(corpus[0], name) for name in Utterance.__slots__} | {"language": language}
        unknown = model.sample(waveform, Utterance(**fields)).tokens
        assert unknown[0] == -1
        assert torch.equal(unknown[1:], known[1:])
    assert known[0] == 24884
    batch = model.collate([model.sample(waveform, Utterance(**fields)) for _ in range(3)])
    assert model.forward(model.module, batch).loss.isfinite()


def test_a_model_learns(model: SpeechModel, samples: Samples) -> None:
    train_mode(model)
    torch.manual_seed(0)
    batch = model.collate(samples(model)[:3])
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        result = model.forward(model.module, batch)
        losses.append(result.loss.item())
        optimizer.zero_grad()
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.module.parameters(), 5.0)
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
