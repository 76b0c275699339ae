"""Error rates with intervals, and alignments for people."""

from asrtune_trainer.scoring.bootstrap import Difference, Interval, difference, interval
from asrtune_trainer.scoring.corpus import CorpusScore, count_errors, error_rate, score
from asrtune_trainer.scoring.edits import EditCounts, Span, SpanKind, align, count_edits
from asrtune_trainer.scoring.tokens import Scoring, Tokens

__all__ = [
    "CorpusScore",
    "Difference",
    "EditCounts",
    "Interval",
    "Scoring",
    "Span",
    "SpanKind",
    "Tokens",
    "align",
    "count_edits",
    "count_errors",
    "difference",
    "error_rate",
    "interval",
    "score",
]
