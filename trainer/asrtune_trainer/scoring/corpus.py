"""Error rates of whole sets: all edits over the length of all references, never a mean of rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt

from asrtune_api.errors import InternalStageError
from asrtune_trainer.scoring.edits import EditCounts, count_edits
from asrtune_trainer.scoring.tokens import Scoring


def count_errors(reference: str, hypothesis: str, scoring: Scoring) -> EditCounts:
    """Edits between two transcripts."""
    return count_edits(scoring.tokens(reference).units, scoring.tokens(hypothesis).units)


@dataclass(frozen=True)
class CorpusScore:
    """A set scored with one model, utterance by utterance."""

    utterances: Mapping[str, EditCounts]
    """Counts by utterance key, in the order of the references."""
    missing: tuple[str, ...]
    """Keys without a hypothesis: all of their reference counts as deleted."""

    @property
    def counts(self) -> EditCounts:
        """Counts of the whole set."""
        return reduce(add, self.utterances.values(), EditCounts())

    @property
    def rate(self) -> float:
        """Percent."""
        return self.counts.rate

    def edits(self) -> npt.NDArray[np.int64]:
        """Edits by utterance, [utterances]."""
        return np.array([counts.edits for counts in self.utterances.values()], dtype=np.int64)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Reference lengths by utterance, [utterances]."""
        return np.array([counts.reference_length for counts in self.utterances.values()], dtype=np.int64)


def score(
    references: Mapping[str, str], hypotheses: Mapping[str, str], scoring: Scoring | None = None
) -> CorpusScore:
    """Score hypotheses by utterance key.

    Raises:
        InternalStageError: if a hypothesis belongs to no reference.
    """
    strays = hypotheses.keys() - references.keys()
    if strays:
        raise InternalStageError(f"{len(strays)} hypotheses have no reference, {min(strays)} among them.")
    scoring = scoring or Scoring()
    return CorpusScore(
        utterances={
            key: count_errors(text, hypotheses.get(key, ""), scoring) for key, text in references.items()
        },
        missing=tuple(key for key in references if key not in hypotheses),
    )


def error_rate(references: Sequence[str], hypotheses: Sequence[str], scoring: Scoring | None = None) -> float:
    """Error rate of a set in percent; hypotheses[i] belongs to references[i].

    Raises:
        ValueError: if the lengths differ.
    """
    scoring = scoring or Scoring()
    pairs = zip(references, hypotheses, strict=True)
    return reduce(add, (count_errors(*pair, scoring) for pair in pairs), EditCounts()).rate
