"""What a data set is made of, gathered utterance by utterance in bounded memory."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from asrtune_trainer.data.checks import Measured
from asrtune_trainer.data.reasons import Reason
from asrtune_trainer.data.utterance import Utterance

DURATION_EDGES = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 60)
"""Lower edges of the duration histogram's bins, seconds."""
CLIPPED_SHARE = 0.001
"""An utterance counts as clipped when that share of its samples is at full scale."""
QUIET_DBFS = -45.0
"""An utterance counts as quiet under this level, dB under full scale."""


@dataclass
class SetStatistics:
    """Statistics of one data source."""

    lines: int = 0
    blank: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    utterances: int = 0
    seconds: float = 0.0
    shortest: float = math.inf
    longest: float = 0.0
    histogram: Counter[int] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    speakers: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    rates: Counter[int] = field(default_factory=Counter)
    stereo: int = 0
    clipped: int = 0
    quiet: int = 0
    level_sum: float = 0.0
    content: Any = field(default_factory=hashlib.sha256)

    def add(self, utterance: Utterance, audio: Measured) -> None:
        """Count an utterance."""
        self.utterances += 1
        self.seconds += audio.seconds
        self.shortest = min(self.shortest, audio.seconds)
        self.longest = max(self.longest, audio.seconds)
        self.histogram[bisect_right(DURATION_EDGES, audio.seconds) - 1] += 1
        self.characters.update(utterance.target)
        self.languages[utterance.language or "unknown"] += 1
        if utterance.speaker:
            self.speakers[utterance.speaker] += 1
        self.rates[audio.rate] += 1
        self.stereo += audio.channels > 1
        self.clipped += audio.clipped > CLIPPED_SHARE * audio.seconds * audio.rate * audio.channels
        level = 20 * math.log10(audio.rms) if audio.rms > 0 else -math.inf
        self.quiet += level < QUIET_DBFS
        self.level_sum += max(level, -120.0)
        self.content.update(audio.content.encode())

    def document(self) -> dict[str, Any]:
        """As JSON."""
        count, letters = max(self.utterances, 1), self.characters.total() - self.characters[" "]
        bins = {
            str(edge): self.histogram[index]
            for index, edge in enumerate(DURATION_EDGES)
            if self.histogram[index]
        }
        return {
            "lines": self.lines,
            "blank": self.blank,
            "rejected": self.rejected.total(),
            "rejectedByReason": {reason.value: number for reason, number in self.rejected.most_common()},
            "utterances": self.utterances,
            "hours": round(self.seconds / 3600, 6),
            "seconds": {
                "mean": round(self.seconds / count, 3),
                "shortest": round(self.shortest, 3) if self.utterances else 0.0,
                "longest": round(self.longest, 3),
                "histogram": bins,
            },
            "characters": letters,
            "charactersPerSecond": round(letters / self.seconds, 3) if self.seconds else 0.0,
            "vocabulary": len(self.characters) - (" " in self.characters),
            "speakers": len(self.speakers),
            "languages": dict(self.languages.most_common()),
            "sampleRates": {str(rate): number for rate, number in self.rates.most_common()},
            "stereo": self.stereo,
            "clipped": self.clipped,
            "quiet": self.quiet,
            "meanLevelDbfs": round(self.level_sum / count, 2),
            "audioDigest": self.content.hexdigest(),
        }
