"""What is compared: transcripts cut into the units that the error rate counts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from asrtune_api.scores import ErrorMetric
from asrtune_api.stages import ErrorUnit, EvaluateParams

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for a model's `<unk>`: one unit, equal to nothing that a person writes."""

_RICH_TAG = re.compile(r"<\|[^|<>]*\|>")
_UNKNOWN_TOKEN = re.compile(r"<unk>", re.IGNORECASE)
_APOSTROPHES = frozenset("'\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}`")
# Han, kana and bopomofo: scripts written without spaces, where each character counts as a word.
_UNSPACED = "\u2e80-\u312f\u31a0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A transcript as the units that are compared."""

    units: tuple[str, ...]
    """Characters or words."""
    spaced: tuple[bool, ...]
    """Whether white space stood before the unit: only for display."""

    def text(self, start: int, end: int) -> str:
        """Units start..end as text; a leading space is kept when one stood there."""
        return "".join(
            f" {unit}" if space else unit
            for unit, space in zip(self.units[start:end], self.spaced[start:end], strict=True)
        )


@dataclass(frozen=True, slots=True)
class Scoring:
    """How transcripts are made comparable. The same for reference and hypothesis."""

    unit: ErrorUnit = ErrorUnit.CHARACTER
    ignore_case: bool = True
    ignore_punctuation: bool = True

    @classmethod
    def of(cls, params: EvaluateParams) -> Scoring:
        """The scoring that an Evaluate stage asks for."""
        return cls(params.unit, params.ignore_case, params.ignore_punctuation)

    @property
    def metric(self) -> ErrorMetric:
        """What the error rate counts."""
        return ErrorMetric.CER if self.unit is ErrorUnit.CHARACTER else ErrorMetric.WER

    def clean(self, text: str) -> str:
        """Normalise without cutting: tags out, NFKC, case and punctuation as asked, single spaces."""
        text = unicodedata.normalize("NFKC", text)  # first: full-width tags are tags, too
        text = _UNKNOWN_TOKEN.sub(UNKNOWN, _RICH_TAG.sub(" ", text))
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = "".join(map(_without_punctuation, text))
        # Case folding decomposes, and what stood around an apostrophe may compose.
        return " ".join(unicodedata.normalize("NFKC", text).split())

    def tokens(self, text: str) -> Tokens:
        """Cut a transcript into units."""
        units, spaced = [], []
        for unit, space in self._cut(self.clean(text)):
            units.append(unit)
            spaced.append(space)
        return Tokens(tuple(units), tuple(spaced))

    def _cut(self, clean: str) -> Iterator[tuple[str, bool]]:
        pattern = _CHARACTER if self.unit is ErrorUnit.CHARACTER else _WORD
        for match in pattern.finditer(clean):
            yield match.group(), clean[match.start() - 1 : match.start()].isspace()


_CHARACTER = re.compile(r"\S")


@lru_cache(maxsize=4096)
def _without_punctuation(character: str) -> str:
    """Punctuation and symbols (Unicode classes P and S) part words, except apostrophes, which vanish."""
    if character == UNKNOWN:
        return character
    if character in _APOSTROPHES:
        return ""
    return " " if unicodedata.category(character)[0] in "PS" else character
