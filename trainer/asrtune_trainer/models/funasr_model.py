"""What the families have in common: features, collation, forward and export through FunASR's own code."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import Batch, ForwardResult, Sample, Unknown
from asrtune_trainer.models.build import Built
from asrtune_trainer.models.directory import ModelDirectory
from asrtune_trainer.models.export import write_directory
from asrtune_trainer.models.freeze import evaluation_mode
from asrtune_trainer.models.funasr_import import funasr_module

IGNORE_ID = -1
"""Padding of token ids in FunASR's batches; losses leave it out."""
_INT16 = 1 << 15
Decoder = Callable[[torch.Tensor, torch.Tensor, Sequence[str]], list[str]]
"""Transcripts of padded features [utterances, frames, dim], int32 lengths [utterances] and languages."""


class FunasrModel(ABC):
    """A FunASR model class with its tokenizer and front end: see `SpeechModel`."""

    family: str
    module: torch.nn.Module
    directory: Path
    components: Mapping[str, tuple[str, ...]]
    sample_rate: int
    languages: frozenset[str] = frozenset()

    def __init__(self, directory: ModelDirectory, built: Built) -> None:
        self.module = built.module
        self.directory = directory.path
        self.components = {
            name: (f"{name}.",) for name, child in built.module.named_children() if [*child.parameters()]
        }
        self.sample_rate = int(built.frontend.fs)
        self._source = directory
        self._config = built.config
        self._tokenizer = built.tokenizer
        self._frontend = built.frontend
        # Kaldi's dither comes from a generator that nobody can seed: `sample` adds it itself.
        self._dither, built.frontend.dither = float(getattr(built.frontend, "dither", 0.0)), 0.0
        encoder: Any = built.module.encoder
        encoder.register_forward_pre_hook(_own_input)
        self._fbank = funasr_module("funasr.utils.load_utils").extract_fbank
        self._spell_out = funasr_module("funasr.utils.postprocess_utils").sentence_postprocess

    def sample(self, waveform: npt.NDArray[np.float32], utterance: Utterance) -> Sample:
        """Features and tokens of one utterance; waveform is mono [samples] in [-1, 1]. Safe in worker processes.

        The features are those of FunASR's data set. Where the configuration asks for dither, its noise is drawn
        from the waveform itself, so that an utterance always has the same features.
        """
        speech = torch.from_numpy(waveform)
        if self._dither:
            noise = np.random.default_rng(zlib.crc32(waveform.tobytes())).standard_normal(len(waveform))
            speech = speech + torch.from_numpy(noise.astype(np.float32)) * (self._dither / _INT16)
        features, _ = self._fbank(speech, data_type="sound", frontend=self._frontend, is_final=True)
        return Sample(features[0], torch.tensor(self._tokens(utterance), dtype=torch.int64))

    def unknown(self, text: str) -> Unknown | None:
        """What of a transcript has no token; None where the tokenizer does not say."""
        encode, token = self._tokenizer.encode, _unknown_token(self._tokenizer)
        if token is None:
            return None
        ids = encode(text)
        number, pieces = ids.count(token), []
        for word in text.split() if number else ():
            if token in encode(word):
                pieces += [one for one in word if token in encode(one)] or [word]
        return Unknown(len(ids), number, pieces)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Pads samples into one batch exactly as FunASR's own data set does; never drops one.

        Returns:
            speech float32 [utterances, frames, dim] padded with 0, text int64 [utterances, tokens] padded with -1,
            speech_lengths and text_lengths int32 [utterances, 1].
        """
        features, tokens = [s.features for s in samples], [s.tokens for s in samples]
        return {
            "speech": pad_sequence(features, batch_first=True, padding_value=0.0),
            "speech_lengths": torch.tensor([[len(frames)] for frames in features], dtype=torch.int32),
            "text": pad_sequence(tokens, batch_first=True, padding_value=IGNORE_ID),
            "text_lengths": torch.tensor([[len(ids)] for ids in tokens], dtype=torch.int32),
        }

    def forward(self, module: torch.nn.Module, batch: Batch) -> ForwardResult:
        """Runs a (possibly DDP-wrapped) module on a batch that lies on its device; the batch stays as it is."""
        # FunASR masks speech (SpecAug) and adds to the lengths in place: neither may reach the caller's batch.
        own = {
            name: tensor.clone() if name.startswith("speech") else tensor for name, tensor in batch.items()
        }
        loss, stats, weight = module(**own)
        scalars = {
            name: value.detach().reshape(())
            for name, value in stats.items()
            if isinstance(value, torch.Tensor)
        }
        return ForwardResult(loss.reshape(()), scalars, weight.reshape(()))

    def decode(self, features: Sequence[torch.Tensor], languages: Sequence[str]) -> list[str]:
        """Greedy transcripts of a batch of features [frames, dim], as FunASR's `generate` gives them.

        Padding is masked or zeroed wherever FunASR's code could see it, so that a transcript does not depend on
        its neighbours in the batch, up to rounding. The module is in evaluation mode meanwhile.

        Args:
            features: float32 [frames, dim] each, on any device.
            languages: a language code each; empty where unknown. Families without languages do not look at it.
        """
        return self._batchwise(features, languages, self._decode)

    def _batchwise(
        self, features: Sequence[torch.Tensor], languages: Sequence[str], decode: Decoder
    ) -> list[str]:
        if not features:
            return []
        device = next(self.module.parameters()).device
        speech = pad_sequence([frames.to(device) for frames in features], batch_first=True)
        lengths = torch.tensor([len(frames) for frames in features], dtype=torch.int32, device=device)
        with evaluation_mode(self.module):
            return decode(speech, lengths, languages)

    def export(self, directory: Path, state: Mapping[str, torch.Tensor], *, half: bool) -> None:
        """Writes a FunASR model directory with these weights, whole or not at all.

        Raises:
            InternalStageError: the weights are not this model's.
            SpecInvalidError: fp16 cannot hold them.
            StorageUnavailableError: the directory cannot be written.
        """
        write_directory(self._source, self.module, directory, state, half=half)

    def _tokens(self, utterance: Utterance) -> list[int]:
        """Target token ids of an utterance."""
        ids: list[int] = self._tokenizer.encode(utterance.target)
        return ids

    @abstractmethod
    def _decode(self, speech: torch.Tensor, lengths: torch.Tensor, languages: Sequence[str]) -> list[str]:
        """Transcripts of padded features [utterances, frames, dim] with int32 lengths [utterances]."""

    def _ordinary(self, ids: Sequence[int]) -> list[int]:
        """Token ids without blank and sentence marks."""
        module: Any = self.module
        return [token for token in ids if token not in {module.sos, module.eos, module.blank_id}]

    def _text(self, ids: Sequence[int]) -> str:
        """Text of token ids, put together by FunASR's rules: words joined, spelt letters in capitals."""
        tokens = self._tokenizer.ids2tokens(self._ordinary(ids))
        text: str = self._spell_out(tokens)[0]
        return text


def _unknown_token(tokenizer: Any) -> int | None:
    """Id of the token for what is not in the vocabulary, of FunASR's tokenizers for characters and SentencePiece."""
    pieces = getattr(tokenizer, "sp", None)
    found = pieces.unk_id() if pieces is not None else getattr(tokenizer, "unk_id", None)
    return found if isinstance(found, int) and found >= 0 else None


def _own_input(_encoder: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Gives an encoder a copy of its input.

    FunASR's encoders begin with ``xs_pad *= scale``. On the input itself that breaks the backward pass where the
    input needs a gradient, and scales it twice where activation checkpoints run the encoder again.
    """
    speech, *rest = inputs
    return speech.clone(), *rest


def collapse(ids: Sequence[int]) -> list[int]:
    """CTC's rule: each run of equal labels counts once (blanks are still in)."""
    return [token for index, token in enumerate(ids) if index == 0 or token != ids[index - 1]]
