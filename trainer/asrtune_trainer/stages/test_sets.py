"""The lists that Evaluate decodes, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asrtune_api.scores import LEAST_UTTERANCES, enough
from asrtune_trainer.data.cache import AudioCache
from asrtune_trainer.data.utterance import Utterance, read_utterances
from asrtune_trainer.scoring import CorpusScore
from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.stages.digest import file_digest
from asrtune_trainer.telemetry.events import Note

_TEST = "test/"
_NO_TEST_SET = (
    "there is no test set: scoring the validation set, which also chose the model and so flatters it"
)

Transcripts = Mapping[str, Mapping[str, str]]
"""Model -> utterance key -> hypothesis."""


@dataclass(frozen=True)
class TestSet:
    """A list to decode; its audio lies on this machine."""

    __test__ = False  # not a pytest class

    name: str
    retention: bool
    """The set measures the old domain."""
    utterances: Sequence[Utterance]
    digest: str = ""
    """Of the list."""

    @property
    def seconds(self) -> float:
        """Audio in all."""
        return sum(utterance.seconds for utterance in self.utterances)


@dataclass(frozen=True)
class Evaluated:
    """A test set, decoded and scored with each model."""

    set: TestSet
    transcripts: Transcripts
    scores: Mapping[str, CorpusScore]


def read_test_sets(context: StageContext) -> list[TestSet]:
    """Prepare's test lists; the validation list, with a warning, where there is none. Warns of those too small."""
    found = _test_sets(context)
    for one in found:
        if not enough(number := len(one.utterances)):
            has = f"has {number} utterance{'' if number == 1 else 's'}"
            few = f"the test set {one.name} {has}: nothing can be proved with it; {LEAST_UTTERANCES} are the least"
            context.telemetry.emit(Note(context.stage.name, few, warning=True))
    return found


def _test_sets(context: StageContext) -> list[TestSet]:
    retention = {source.name for source in context.run.data.test if source.retention}
    found = [
        _read(context, name, finished.path(role), retention=name in retention)
        for finished in context.upstream.values()
        for role in finished.outputs
        if (name := role.removeprefix(_TEST)) != role
    ]
    if found:
        return found
    context.telemetry.emit(Note(context.stage.name, _NO_TEST_SET, warning=True))
    path = context.latest("validation").path("validation")
    return [_read(context, "validation", path, retention=False)]


def _read(context: StageContext, name: str, path: Path, *, retention: bool) -> TestSet:
    cache = AudioCache(context.scratch, context.stores)
    utterances = cache.localise(list(read_utterances(path)))
    return TestSet(name, retention, utterances, file_digest(path))
