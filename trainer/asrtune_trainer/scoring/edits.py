"""Edits between two token sequences, by Levenshtein distance: counts for scores, spans for display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rapidfuzz.distance import Levenshtein

from asrtune_trainer.scoring.tokens import Tokens


class SpanKind(StrEnum):
    """What happened to a stretch of the reference."""

    EQUAL = "equal"
    SUBSTITUTION = "substitution"
    INSERTION = "insertion"
    DELETION = "deletion"


_KINDS = {
    "equal": SpanKind.EQUAL,
    "replace": SpanKind.SUBSTITUTION,
    "insert": SpanKind.INSERTION,
    "delete": SpanKind.DELETION,
}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of reference and hypothesis; texts begin with a space where one stood there."""

    kind: SpanKind
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class EditCounts:
    """Edits that turn a reference into a hypothesis, and the reference's length in units."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_length: int = 0

    def __add__(self, other: EditCounts) -> EditCounts:
        return EditCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )

    @property
    def edits(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits in percent of the reference's length (of one unit where the reference is empty)."""
        return 100.0 * self.edits / max(1, self.reference_length)


def count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> EditCounts:
    """Count the edits of one shortest path."""
    counts = dict.fromkeys(("replace", "delete", "insert"), 0)
    for edit in Levenshtein.editops(reference, hypothesis):
        counts[edit.tag] += 1
    return EditCounts(counts["replace"], counts["delete"], counts["insert"], len(reference))


def align(reference: Tokens, hypothesis: Tokens) -> list[Span]:
    """The same path as `count_edits`, as spans in reading order."""
    return [
        Span(
            _KINDS[code.tag],
            reference.text(code.src_start, code.src_end),
            hypothesis.text(code.dest_start, code.dest_end),
        )
        for code in Levenshtein.opcodes(reference.units, hypothesis.units)
    ]
