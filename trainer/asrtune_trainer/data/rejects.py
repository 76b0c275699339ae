"""rejects.jsonl: every line that is not used, with its reason and remedy; and the share at which a run gives up."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from asrtune_trainer.data.reader import Reject
from asrtune_trainer.data.reasons import Reason

_EXAMPLES = 3
_CERTAINTY = math.log(1e12)
"""A verdict from a sample is wrong once in 10^12 runs at the most."""


@dataclass
class Tally:
    """Rejected lines of one source."""

    reasons: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, list[int]] = field(default_factory=dict)
    """Line numbers of the first few."""
    first: Reject | None = None

    def add(self, reject: Reject) -> None:
        reason = reject.problem.reason
        self.first = self.first or reject
        self.reasons[reason] += 1
        if len(examples := self.examples.setdefault(reason, [])) < _EXAMPLES:
            examples.append(reject.line)

    def summary(self, most: int = 3) -> str:
        """The most frequent reasons with line numbers: "FileMissing 12 (lines 3, 5, 9)"."""
        parts = []
        for reason, number in self.reasons.most_common(most):
            lines = ", ".join(map(str, self.examples[reason]))
            parts.append(f"{reason} {number} (line{'s' if number > 1 else ''} {lines})")
        return ", ".join(parts)

    def told(self) -> str:
        """The first line's own message and remedy: "Line 3: there is no /data/a.wva. Check the path."."""
        if self.first is None:
            return ""
        problem = self.first.problem
        return f"Line {self.first.line}: {problem.detail.rstrip('.')}. {problem.remedy}"


@dataclass
class RejectLog:
    """Writes rejected lines and counts them by source."""

    file: TextIO
    tallies: dict[str, Tally] = field(default_factory=dict)

    def add(self, label: str, uri: str, reject: Reject) -> None:
        """Write a rejected line.

        Args:
            label: its source, as split/name.
            uri: the list that it stands in.
            reject: the line.
        """
        self.tallies.setdefault(label, Tally()).add(reject)
        document = {
            "set": label,
            "file": uri,
            "line": reject.line,
            "key": reject.key,
            "source": reject.source,
            "reason": reject.problem.reason,
            "detail": reject.problem.detail,
            "remedy": reject.problem.remedy,
        }
        self.file.write(json.dumps(document, ensure_ascii=False) + "\n")

    def tally(self, label: str) -> Tally:
        return self.tallies.get(label, Tally())


@contextmanager
def reject_log(path: Path) -> Iterator[RejectLog]:
    """A log that appears at `path` as a whole when the block ends, also with an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.partial")
    try:
        with part.open("w", encoding="utf-8", errors="replace") as file:
            yield RejectLog(file)
    finally:
        part.replace(path)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many lines of a source may be rejected."""

    lines: int
    """Lines that are not blank."""
    percent: int

    @property
    def most(self) -> int:
        return self.lines * self.percent // 100

    def is_exceeded(self, rejected: int) -> bool:
        """Whether so many are too many, whatever the rest is like."""
        return rejected > self.most

    def will_be_exceeded(self, certain: int, drawn: int, bad: int) -> bool:
        """Whether a random sample shows that the whole source exceeds it.

        Uses Hoeffding's bound for drawing without replacement (JASA 58, 1963, theorems 1 and 4): with a true share of
        p, a sample of n shows a share of q > p with a probability of at most exp(-n KL(q || p)).

        Args:
            certain: rejects that are known without the sample.
            drawn: lines looked at, drawn at random from the others.
            bad: how many of them were rejected.
        """
        if self.is_exceeded(certain + bad):
            return True
        if not drawn or not bad:
            return False
        allowed = (self.most - certain) / (self.lines - certain)
        share = bad / drawn
        return share > allowed and drawn * _divergence(share, allowed) > _CERTAINTY

    def looks_exceeded(self, certain: int, drawn: int, bad: int) -> bool:
        """Whether the sample's share is over the allowed one: reason to draw more."""
        return bad * (self.lines - certain) > (self.most - certain) * drawn


def _divergence(share: float, allowed: float) -> float:
    """Kullback-Leibler divergence of two coins, nats."""
    if allowed <= 0:
        return math.inf
    rest = (1 - share) * math.log((1 - share) / (1 - allowed)) if share < 1 else 0.0
    return share * math.log(share / allowed) + rest
