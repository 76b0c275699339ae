"""The CTC class: an encoder and a CTC output layer ("CTC" in FunASR's registry)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from asrtune_trainer.models.funasr_model import FunasrModel, collapse


class CtcModel(FunasrModel):
    """See `SpeechModel`."""

    family: str = "ctc"

    def _decode(self, speech: torch.Tensor, lengths: torch.Tensor, languages: Sequence[str]) -> list[str]:  # noqa: ARG002
        module: Any = self.module
        encoded, encoded_lengths = module.encode(speech, lengths)
        best = module.ctc.log_softmax(encoded).argmax(dim=-1)
        rows = zip(best.tolist(), encoded_lengths.tolist(), strict=True)
        return [self._text(collapse(ids[:length])) for ids, length in rows]
