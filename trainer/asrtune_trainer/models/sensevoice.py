"""SenseVoice-Small: an encoder with CTC that is asked for language, emotion, event and text form by query vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.build import Built
from asrtune_trainer.models.directory import ModelDirectory
from asrtune_trainer.models.funasr_model import IGNORE_ID, FunasrModel, collapse

# What FunASR's SenseVoiceCTCDataset puts where a line says nothing.
EMOTION, EVENT, TEXT_FORM = "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>"
_QUERIES = 4
"""Frames put before the speech: language, event, emotion, text form."""
_EVENT_EMOTION = (1, 2)
"""Rows of the query table for event and emotion."""
_TAG = re.compile(r"<\|[^|]*\|>")


class SenseVoiceModel(FunasrModel):
    """See `SpeechModel`.

    An utterance without a language is trained with the query for "auto" and no language target, where FunASR would
    call it Chinese; its other tags are FunASR's defaults.
    """

    family: str = "sensevoice"

    def __init__(self, directory: ModelDirectory, built: Built) -> None:
        super().__init__(directory, built)
        self._language = str(built.config.get("language") or "auto")
        form = "withitn" if built.config.get("use_itn") else "woitn"
        self._form = str(built.config.get("text_norm") or form)
        ids: dict[str, int] = built.module.lid_dict  # type: ignore[assignment]
        self._languages = ids
        self.languages = frozenset(ids) - {"auto", "nospeech"}

    def _tokens(self, utterance: Utterance) -> list[int]:
        """Language, emotion, event, text form, transcript: as FunASR's SenseVoiceCTCDataset puts them."""
        encode = self._tokenizer.encode
        language = self._known(utterance.language)
        head = [IGNORE_ID] if language == "auto" else encode(f"<|{language}|>")
        tags = [token for tag in (EMOTION, EVENT, TEXT_FORM) for token in encode(tag)]
        return [*head, *tags, *encode(utterance.target)]

    def _known(self, language: str) -> str:
        """A language the model knows, or auto."""
        chosen = language or self._language
        return chosen if chosen in self._languages else "auto"

    def rich_transcripts(self, features: Sequence[torch.Tensor], languages: Sequence[str]) -> list[str]:
        """Transcripts with their tags, as FunASR gives them: ``<|zh|><|NEUTRAL|><|Speech|><|woitn|>text``."""
        return self._batchwise(features, languages, self._rich)

    def _decode(self, speech: torch.Tensor, lengths: torch.Tensor, languages: Sequence[str]) -> list[str]:
        return [strip_tags(text) for text in self._rich(speech, lengths, languages)]

    def _rich(self, speech: torch.Tensor, lengths: torch.Tensor, languages: Sequence[str]) -> list[str]:
        module: Any = self.module
        encoded, encoded_lengths = module.encoder(self._with_queries(speech, languages), lengths + _QUERIES)
        best = module.ctc.log_softmax(encoded).argmax(dim=-1)
        rows = zip(best.tolist(), encoded_lengths.tolist(), strict=True)
        return [
            self._tokenizer.decode([token for token in collapse(ids[:length]) if token != module.blank_id])
            for ids, length in rows
        ]

    def _with_queries(self, speech: torch.Tensor, languages: Sequence[str]) -> torch.Tensor:
        """Puts the query vectors before the frames, in the order of FunASR's inference."""
        module: Any = self.module
        form = module.textnorm_dict[self._form]
        rows = [[self._languages[self._known(language)], *_EVENT_EMOTION, form] for language in languages]
        queries = module.embed(torch.tensor(rows, device=speech.device))
        return torch.cat((queries.to(speech.dtype), speech), dim=1)


def strip_tags(text: str) -> str:
    """The plain transcript of a rich one: ``<|zh|><|NEUTRAL|><|Speech|><|woitn|>text`` -> ``text``."""
    return _TAG.sub("", text).strip()
