"""Looks for transcripts that the model has no tokens for: it would learn to write <unk> in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from asrtune_api.errors import DataInvalidError
from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.telemetry.events import Note, Telemetry

SAMPLE = 2000
"""Utterances looked at, evenly spread over the list: a few tenths of a second, however long it is."""
_WARNED_PERCENT, _REFUSED_PERCENT = 1.0, 50.0
_EXAMPLES = 5


def check_vocabulary(
    model: SpeechModel, utterances: Sequence[Utterance], stage: str, telemetry: Telemetry
) -> None:
    """Warn of transcripts in characters that the model does not know. The same on every rank.

    Raises:
        DataInvalidError: most of the text is unknown to the model: it is for another language.
    """
    step = -(-len(utterances) // SAMPLE)
    sample = utterances[:: max(1, step)]
    tokens = unknown = affected = 0
    examples: Counter[str] = Counter()
    for one in sample:
        found = model.unknown(one.target)
        if found is None:
            return
        tokens += found.tokens
        unknown += found.unknown
        affected += bool(found.unknown)
        if len(examples) < _EXAMPLES * 10:
            examples.update(found.pieces)
    percent = 100 * unknown / max(1, tokens)
    if percent < _WARNED_PERCENT:
        return
    shown = ", ".join(f'"{piece}"' for piece, _ in examples.most_common(_EXAMPLES))
    looked_at = "" if len(sample) == len(utterances) else " looked at"
    message = (
        f"{percent:.3g} % of the tokens of train are not in the model's vocabulary,"
        f" such as {shown} ({affected} of {len(sample)} utterances{looked_at})"
    )
    if percent > _REFUSED_PERCENT:
        raise DataInvalidError(
            f"{message}.",
            where="spec.data.train",
            remedy="Choose a base model for this language, or write the text as the model does (characters, case).",
            reason="VocabularyMismatch",
        )
    telemetry.emit(Note(stage, f"{message}: it learns <unk> there", warning=True))
