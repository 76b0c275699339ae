"""Transcripts kept at the output URI by model and list, so that nothing is decoded twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from asrtune_trainer.storage import ObjectMissingError, Stores, join_uri

VERSION: Final = 1
"""Raised when the same model would transcribe the same audio otherwise."""


@dataclass(frozen=True)
class Decoded:
    """What one model made of one list."""

    family: str
    """Of the model."""
    transcripts: Mapping[str, str]
    """Utterance key -> hypothesis."""


@dataclass(frozen=True)
class DecodedCache:
    """Transcripts, named by what they depend on.

    They lie outside the stage's directory, which a changed fingerprint empties: an interrupted evaluation goes on, on
    another machine too, and one that gets a further model decodes with that alone.
    """

    stores: Stores
    output: str

    def read(self, model: str, test_set: str) -> Decoded | None:
        """What is there for the digests of a model and a list."""
        uri = self._uri(model, test_set)
        try:
            document = json.loads(self.stores.of(uri).read_bytes(uri))
        except ObjectMissingError:
            return None
        return Decoded(document["family"], document["transcripts"])

    def write(self, model: str, test_set: str, decoded: Decoded) -> None:
        uri = self._uri(model, test_set)
        document = {"family": decoded.family, "transcripts": dict(decoded.transcripts)}
        self.stores.of(uri).write_bytes(uri, json.dumps(document, ensure_ascii=False).encode())

    def _uri(self, model: str, test_set: str) -> str:
        name = sha256(f"{VERSION}\0{model}\0{test_set}".encode()).hexdigest()[:32]
        return join_uri(self.output, "decoded", f"{name}.json")
