"""Paraformer: the CIF predictor counts tokens, the decoder names all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from asrtune_trainer.models.funasr_model import FunasrModel


class ParaformerModel(FunasrModel):
    """See `SpeechModel`."""

    family: str = "paraformer"

    def _decode(self, speech: torch.Tensor, lengths: torch.Tensor, languages: Sequence[str]) -> list[str]:  # noqa: ARG002
        module: Any = self.module
        encoded, encoded_lengths = module.encode(speech, lengths)
        # The predictor's convolution looks past the last frame: an utterance alone sees zeros there, so all shall.
        positions = torch.arange(encoded.shape[1], device=encoded.device)
        encoded = encoded * (positions < encoded_lengths[:, None])[:, :, None]
        embeddings, counts, _, _ = module.calc_predictor(encoded, encoded_lengths)
        counts = counts.round().long()
        if int(counts.max()) < 1:
            return [""] * len(speech)
        scores, _ = module.cal_decoder_with_predictor(encoded, encoded_lengths, embeddings, counts)
        rows = zip(scores.argmax(dim=-1).tolist(), counts.tolist(), strict=True)
        return [self._spell(ids[:count]) for ids, count in rows]

    def _spell(self, ids: Sequence[int]) -> str:
        if not hasattr(self._tokenizer, "bpemodel"):
            return self._text(ids)
        text: str = self._tokenizer.tokens2text(self._tokenizer.ids2tokens(self._ordinary(ids)))
        return text
