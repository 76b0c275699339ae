"""Looks for languages that the model does not know: their utterances are trained as if none were named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.telemetry.events import Note, Telemetry
from asrtune_trainer.telemetry.lines import utterances as count_of

_SHOWN = 5


def check_languages(
    model: SpeechModel, utterances: Sequence[Utterance], stage: str, telemetry: Telemetry
) -> None:
    """Warn of language codes that the model does not know, where it is told of languages at all."""
    if not model.languages:
        return
    codes = Counter(one.language for one in utterances)
    unknown = [(code, number) for code, number in codes.most_common() if code and code not in model.languages]
    if not unknown:
        return
    shown = ", ".join(f'"{code}"' for code, _ in unknown[:_SHOWN]) + (", ..." if unknown[_SHOWN:] else "")
    message = (
        f"{count_of(sum(number for _, number in unknown))} of train name a language that the model does not know"
        f" ({shown}) and are trained as if they named none; it knows {', '.join(sorted(model.languages))}"
    )
    telemetry.emit(Note(stage, message, warning=True))
