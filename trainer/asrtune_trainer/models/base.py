"""What training, decoding and export need of a model, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from asrtune_trainer.data.utterance import Utterance

Batch = dict[str, torch.Tensor]
"""Keyword arguments of the model's forward."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One utterance, ready to be collated."""

    features: torch.Tensor
    """Front-end output, float32 [frames, dim]."""
    tokens: torch.Tensor
    """Target token ids, int64 [tokens]; -1 where there is no target."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a model has no tokens for in a text."""

    tokens: int
    """Tokens of the text."""
    unknown: int
    """Those that stand for something unknown."""
    pieces: Sequence[str]
    """The characters in question, or the word where none of its characters alone is."""


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """Loss of one batch and what to report of it; tensors on the model's device, nothing synchronised."""

    loss: torch.Tensor
    """Scalar, differentiable."""
    stats: Mapping[str, torch.Tensor]
    """Detached scalars, `acc` among them where the family has one."""
    weight: torch.Tensor
    """What the loss is a mean over (tokens or utterances), scalar."""


class SpeechModel(Protocol):
    """A FunASR model with its tokenizer and front end.

    Random state: building a model leaves the caller's random state untouched.
    """

    family: str
    """Name of the family: ctc, paraformer, sensevoice."""
    module: torch.nn.Module
    """The FunASR module; its state_dict is what checkpoints hold."""
    directory: Path
    """The model directory it was built from."""
    components: Mapping[str, tuple[str, ...]]
    """Component name (encoder, decoder, ctc, ...) -> parameter-name prefixes."""
    sample_rate: int
    """Sample rate of waveforms, Hz."""
    languages: frozenset[str]
    """Codes of the languages that it is told of; empty where it is told of none."""

    def sample(self, waveform: npt.NDArray[np.float32], utterance: Utterance) -> Sample:
        """Features and tokens of one utterance; waveform is mono [samples] in [-1, 1]. Safe in worker processes."""
        ...

    def unknown(self, text: str) -> Unknown | None:
        """What of a transcript has no token; None where the tokenizer does not say."""
        ...

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Pad samples into one batch exactly as FunASR's own data set does."""
        ...

    def forward(self, module: torch.nn.Module, batch: Batch) -> ForwardResult:
        """Run a (possibly DDP-wrapped) module on a batch that lies on its device; the batch stays as it is."""
        ...

    def decode(self, features: Sequence[torch.Tensor], languages: Sequence[str]) -> list[str]:
        """Greedy transcripts of a batch of features [frames, dim]; the module is in evaluation mode meanwhile.

        Languages are codes such as zh, empty where unknown. Neighbours in the batch do not change a transcript.
        """
        ...

    def export(self, directory: Path, state: Mapping[str, torch.Tensor], *, half: bool) -> None:
        """Write a FunASR directory (configuration.json, config.yaml, model.pt, tokens, cmvn) with these weights."""
        ...
