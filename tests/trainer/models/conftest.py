"""One of each tiny model and one corpus for all tests of models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import Sample, SpeechModel
from asrtune_trainer.models.load import load_model
from tools.tiny_models import FAMILIES, make_corpus, make_tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model directory of each family; not to be changed."""
    root = tmp_path_factory.mktemp("tiny")
    return {family: make_tiny_model(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Twenty utterances from 0.3 to 5 s."""
    return make_corpus(tmp_path_factory.mktemp("corpus"), 20, length=(1, 30))


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, directories: dict[str, Path]) -> SpeechModel:
    """A fresh model of each family in turn."""
    return load_model(directories[request.param], device=CPU, seed=0)


@pytest.fixture
def samples(corpus: list[Utterance]) -> Callable[[SpeechModel], list[Sample]]:
    """Makes the corpus into samples of a model."""

    def make(model: SpeechModel) -> list[Sample]:
        return [model.sample(soundfile.read(one.source, dtype="float32")[0], one) for one in corpus]

    return make
