"""Finds what training, validation and test data share: it makes results look better than they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from asrtune_trainer.data.utterance import Utterance

_EXAMPLES = 3


@dataclass
class Overlap:
    """Remembers validation and test utterances and counts what later sets repeat of them. Train must come last."""

    seen: dict[str, dict[bytes, tuple[str, str]]] = field(
        default_factory=lambda: {"audio": {}, "text": {}, "speaker": {}}
    )
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(what is shared, the held-out set, the set that repeats it) -> utterances."""
    examples: dict[tuple[str, str, str], list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, label: str, utterance: Utterance, content: str) -> None:
        """Compare an utterance with those of other splits, and remember it unless it is for training.

        Args:
            label: its set, as split/name.
            utterance: the utterance.
            content: digest of its samples.
        """
        split = label.partition("/")[0]
        for kind, value in (
            ("audio", content),
            ("text", utterance.target),
            ("speaker", utterance.speaker),
        ):
            if not value:
                continue
            name = blake2b(value.encode(), digest_size=8).digest()
            earlier = self.seen[kind].get(name)
            if earlier and earlier[0].partition("/")[0] != split:
                self._count(kind, earlier, (label, utterance.key))
            if split != "train":
                self.seen[kind].setdefault(name, (label, utterance.key))

    def document(self) -> list[dict[str, Any]]:
        """As JSON, the worst first."""
        return [
            {
                "shared": kind,
                "heldOut": held,
                "repeatedIn": repeating,
                "utterances": number,
                "examples": [list(pair) for pair in self.examples[kind, held, repeating]],
            }
            for (kind, held, repeating), number in self.counts.most_common()
        ]

    def warnings(self) -> list[str]:
        """A sentence for each pair of sets that share recordings."""
        return [
            f"{number} recordings of {pair[1]} are also in {pair[2]}, such as {self.examples[pair][0][0]}:"
            f" what is measured on {pair[1]} is too good. Remove them from one of the two."
            for pair, number in self.counts.most_common()
            if pair[0] == "audio"
        ]

    def _count(self, kind: str, earlier: tuple[str, str], later: tuple[str, str]) -> None:
        pair = (kind, earlier[0], later[0])
        self.counts[pair] += 1
        if len(examples := self.examples.setdefault(pair, [])) < _EXAMPLES:
            examples.append((earlier[1], later[1]))
