"""Against stock FunASR in a process of its own: same weights, batches, losses and transcripts; our exports load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import Sample, SpeechModel
from asrtune_trainer.models.freeze import train_mode
from asrtune_trainer.models.load import load_model
from asrtune_trainer.models.sensevoice import SenseVoiceModel, strip_tags
from tools.stock_probe import Job, probe
from tools.tiny_models import FAMILIES, write_stock_list

Stock = dict[str, dict[str, Any]]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stock(
    directories: dict[str, Path], corpus: list[Utterance], tmp_path_factory: pytest.TempPathFactory
) -> Stock:
    """What stock FunASR makes of the three models and of what we export of them."""
    work = tmp_path_factory.mktemp("stock")
    lines = str(write_stock_list(work / "lines.jsonl", corpus))
    audio = [one.source for one in corpus]
    jobs = []
    for family in FAMILIES:
        jobs.append(Job(family, str(directories[family]), audio, {"language": "zh"}, lines))
        model = load_model(directories[family], device=CPU, seed=0)
        for half in (False, True):
            name = f"{family}-{'half' if half else 'full'}"
            model.export(work / name, model.module.state_dict(), half=half)
            jobs.append(Job(name, str(work / name), audio[:5], {"language": "zh"}))
    jobs.append(Job("sensevoice-auto", str(directories["sensevoice"]), audio, {}))
    return probe(jobs, work)


def test_weights(model: SpeechModel, stock: Stock) -> None:
    own, theirs = model.module.state_dict(), stock[model.family]["state"]
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[key], theirs[key]) for key in own)


def test_batch_tensor_for_tensor(
    model: SpeechModel, samples: Callable[[SpeechModel], list[Sample]], stock: Stock
) -> None:
    own, theirs = model.collate(samples(model)), stock[model.family]["batch"]
    assert own.keys() == theirs.keys()
    for key in own:
        assert own[key].dtype == theirs[key].dtype, key
        assert torch.equal(own[key], theirs[key]), key


def test_loss_of_the_batch(
    model: SpeechModel, samples: Callable[[SpeechModel], list[Sample]], stock: Stock
) -> None:
    theirs = stock[model.family]
    train_mode(model)
    torch.manual_seed(7)
    result = model.forward(model.module, model.collate(samples(model)))
    assert result.loss.item() == theirs["loss"].item()
    assert result.weight.item() == theirs["weight"].item()
    assert {key: value.item() for key, value in result.stats.items()} == {
        key: value.item() for key, value in theirs["stats"].items()
    }


def test_transcripts_file_by_file_and_in_one_batch(
    model: SpeechModel, samples: Callable[[SpeechModel], list[Sample]], stock: Stock
) -> None:
    features = [sample.features for sample in samples(model)]
    languages = ["zh"] * len(features)
    theirs = [strip_tags(text) for text in stock[model.family]["texts"]]
    assert len(set(theirs)) > 10, "the tiny model must not say the same of everything"
    assert [model.decode([one], ["zh"])[0] for one in features] == theirs
    assert model.decode(features, languages) == theirs
    assert model.decode(features[::-1], languages) == theirs[::-1]


def test_rich_transcripts_of_sensevoice(
    directories: dict[str, Path], samples: Callable[[SpeechModel], list[Sample]], stock: Stock
) -> None:
    model = load_model(directories["sensevoice"], device=CPU, seed=0)
    assert isinstance(model, SenseVoiceModel)
    features = [sample.features for sample in samples(model)]
    languages = ["zh"] * len(features)
    assert model.rich_transcripts(features, languages) == stock["sensevoice"]["texts"]
    assert model.rich_transcripts(features, [""] * len(features)) == stock["sensevoice-auto"]["texts"]
    assert stock["sensevoice-auto"]["texts"] != stock["sensevoice"]["texts"], "the language must matter"


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_directory_decodes_in_a_clean_process(family: str, stock: Stock) -> None:
    assert stock[f"{family}-full"]["texts"] == stock[family]["texts"][:5]
    assert all(
        torch.equal(value, stock[family]["state"][key])
        for key, value in stock[f"{family}-full"]["state"].items()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_export_is_the_rounded_model(family: str, stock: Stock) -> None:
    for key, value in stock[f"{family}-half"]["state"].items():
        assert value.dtype == torch.float32
        assert torch.equal(value, stock[family]["state"][key].half().float()), key
