"""Prepare: every line is either used or rejected with its reason; lists, rejects and statistics are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar

from asrtune_api.errors import DataInvalidError
from asrtune_api.stages import PrepareParams, StageSpec
from asrtune_trainer.data.cache import AudioCache
from asrtune_trainer.data.checks import Limits
from asrtune_trainer.data.judging import Accepted, Judge, Verdict
from asrtune_trainer.data.lines import Ready, SourceList, Survey, survey
from asrtune_trainer.data.overlap import Overlap
from asrtune_trainer.data.pool import worker_pool
from asrtune_trainer.data.reader import Blank, Reject
from asrtune_trainer.data.rejects import Allowance, RejectLog, reject_log
from asrtune_trainer.data.sources import open_sources, source_digests
from asrtune_trainer.data.statistics import SetStatistics
from asrtune_trainer.data.utterance import Utterance, UtteranceWriter, frames_of
from asrtune_trainer.stages.base import StageContext, StageResult
from asrtune_trainer.stages.progress import Progress
from asrtune_trainer.storage import join_uri
from asrtune_trainer.telemetry.events import Note

REJECTS = "rejects.jsonl"
STATISTICS = "statistics.json"
_SAMPLE = 1000
"""Lines of each source that are looked at, in random order, before any source is read in full."""
_REASONS = 4
"""Reasons that a warning names, the most frequent first."""


@dataclass
class _Source:
    """A source and what is known of it so far."""

    list: SourceList
    survey: Survey
    allowance: Allowance
    known: dict[int, Verdict] = field(default_factory=dict)
    """Verdicts by line number, from the sample."""
    statistics: SetStatistics = field(default_factory=SetStatistics)

    @property
    def bad(self) -> int:
        """Rejects in the sample."""
        return sum(isinstance(verdict, Reject) for verdict in self.known.values())

    @property
    def is_hopeless(self) -> bool:
        return self.allowance.will_be_exceeded(self.survey.rejected.total(), len(self.known), self.bad)

    @property
    def is_doubtful(self) -> bool:
        return self.allowance.looks_exceeded(self.survey.rejected.total(), len(self.known), self.bad)


class PrepareStage:
    """Checks and normalises all data. A source that is too broken is found from a sample, within seconds."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:  # noqa: ARG002  the protocol's
        """It reads what the manifest names."""
        return []

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        """A digest of each source (its list's content and its audio files' versions), and what is allowed."""
        allowed = {"maxRejectedPercent": str(context.run.data.max_rejected_percent)}
        return {**source_digests(_open(context), _cache(context)), **allowed}

    def run(self, context: StageContext) -> StageResult:
        """Write the lists.

        Raises:
            DataInvalidError: more lines of a source are unusable than allowed, or a split is left without any.
        """
        params = context.params(PrepareParams)
        sources = [_survey(context, source) for source in _open(context)]
        cache = _cache(context)
        cache.find(uri for one in sources for uri in one.survey.remote)
        limits = Limits(params.min_milliseconds / 1000, params.max_milliseconds / 1000)
        total = sum(one.survey.written for one in sources)
        path = context.directory / REJECTS
        try:
            with worker_pool(params.workers, total) as pool, reject_log(path) as log:
                work = _Preparation(context, sources, Judge(limits, cache, pool), log)
                work.sample()
                work.write_lists()
        except DataInvalidError:
            context.mirror.write(path)
            raise
        return _result(context, sources, work.overlap)


def _cache(context: StageContext) -> AudioCache:
    return AudioCache(context.scratch, context.stores)


def _open(context: StageContext) -> list[SourceList]:
    tags = context.params(PrepareParams).remove_event_tags
    return open_sources(context.run, context.stores, context.scratch, remove_event_tags=tags)


def _survey(context: StageContext, source: SourceList) -> _Source:
    context.stop.check()
    found = survey(source)
    if not found.written:
        raise DataInvalidError(
            "the list is empty.",
            where=f"{source.uri} ({source.label})",
            remedy='Write one {"source": AUDIO, "target": TEXT} a line.',
            reason="ListEmpty",
        )
    return _Source(source, found, Allowance(found.written, context.run.data.max_rejected_percent))


@dataclass
class _Preparation:
    """One run of the stage, once the lists are surveyed."""

    context: StageContext
    sources: Sequence[_Source]
    judge: Judge
    log: RejectLog
    overlap: Overlap = field(default_factory=Overlap)

    def sample(self) -> None:
        """Look at a random part of every source, more of it where the share of rejects is near the limit.

        Raises:
            DataInvalidError: if a source will certainly exceed what is allowed.
        """
        total = sum(min(_SAMPLE, len(one.survey.sample)) for one in self.sources)
        progress = Progress(self.context, "sampling", total, part=1, parts=2)
        for one in self.sources:
            self._sample(one, progress)
        if hopeless := [one for one in self.sources if one.is_hopeless]:
            for one in hopeless:
                self._log_known(one)
            raise _too_many(self.context, hopeless, self.log)

    def write_lists(self) -> None:
        """Judge every line and write it where it belongs.

        Raises:
            DataInvalidError: if a source exceeds what is allowed, or a list is left empty.
        """
        total = sum(one.survey.written for one in self.sources)
        progress = Progress(self.context, "checked", total, part=2, parts=2)
        writers: dict[str, UtteranceWriter] = {}
        with ExitStack() as stack:
            for one in self.sources:
                name = list_name(one.list.split, one.list.name)
                if name not in writers:
                    writers[name] = stack.enter_context(UtteranceWriter(self.context.directory / name))
                self._write(one, writers[name], progress)
        for name, writer in writers.items():
            if not writer.count:
                raise DataInvalidError(
                    f"no usable utterance is left for {name.removesuffix('.jsonl')}.",
                    where=join_uri(self.context.uri, REJECTS),
                    remedy="Correct the lines listed there.",
                    reason="NothingLeft",
                )

    def _sample(self, one: _Source, progress: Progress) -> None:
        # The survey alone may show that there are too many; the sample still tells what else is wrong.
        for verdict in self.judge.judge(one.survey.sample[:_SAMPLE]):
            one.known[_line(verdict)] = verdict
            progress.step()
        if one.is_doubtful and not one.is_hopeless:
            for verdict in self.judge.judge(one.survey.sample[_SAMPLE:]):
                one.known[_line(verdict)] = verdict
                self.context.stop.check()
                if one.is_hopeless:
                    break
        one.survey.sample.clear()

    def _log_known(self, one: _Source) -> None:
        """Log the rejects that are known without reading more audio, in the order of their lines."""
        for line in _judged_lines(one):
            verdict = one.known.get(line.line, line)
            if isinstance(verdict, Reject):
                self.log.add(one.list.label, one.list.uri, verdict)

    def _write(self, one: _Source, writer: UtteranceWriter, progress: Progress) -> None:
        found = one.statistics
        for verdict in self.judge.judge(_judged_lines(one), one.known):
            progress.step()
            if isinstance(verdict, Reject):
                self.log.add(one.list.label, one.list.uri, verdict)
                found.rejected[verdict.problem.reason] += 1
                if one.allowance.is_exceeded(found.rejected.total()):
                    raise _too_many(self.context, [one], self.log)
            else:
                utterance = _utterance(one.list, verdict)
                writer.write(utterance)
                found.add(utterance, verdict.audio)
                self.overlap.add(one.list.label, utterance, verdict.audio.content)
        found.lines, found.blank = one.survey.lines, one.survey.blank
        assert found.lines == found.utterances + found.rejected.total() + found.blank, one.list.label


def _judged_lines(one: _Source) -> Iterator[Ready | Reject]:
    for line in one.list.lines():
        if not isinstance(line, Blank):
            yield one.survey.judge(line)


def _utterance(source: SourceList, verdict: Accepted) -> Utterance:
    line, seconds = verdict.line, verdict.audio.seconds
    return Utterance(
        key=f"{source.name}/{line.key}",
        source=line.uri,
        target=line.text,
        seconds=round(seconds, 6),
        source_len=frames_of(seconds),
        target_len=len(line.text),
        set=source.name,
        language=line.language,
        speaker=line.speaker,
    )


def _too_many(context: StageContext, sources: Sequence[_Source], log: RejectLog) -> DataInvalidError:
    percent = context.run.data.max_rejected_percent
    parts = []
    for one in sources:
        tally = log.tally(one.list.label)
        found = tally.reasons.total()
        looked_at = one.survey.rejected.total() + len(one.known)
        sampled = "" if looked_at >= one.survey.written else f" (a random {len(one.known)} were listened to)"
        parts.append(
            f"{one.list.label}: at least {found} of {one.survey.written} lines are unusable{sampled},"
            f" {one.allowance.most} may be: {tally.summary()}."
        )
    told = log.tally(sources[0].list.label).told()
    return DataInvalidError(
        f"more than {percent} % of the lines are unusable. {' '.join(parts)} {told}",
        where=", ".join(one.list.uri for one in sources),
        remedy=f"Each is listed with its reason and remedy in {join_uri(context.uri, REJECTS)}; correct or remove them,"
        f" or raise {context.run.manifest_field('data.maxRejectedPercent')}.",
        reason="TooManyRejected",
    )


def _line(verdict: Verdict) -> int:
    return verdict.line.line if isinstance(verdict, Accepted) else verdict.line


def list_name(split: str, source: str) -> str:
    """The file of a source's utterances: one for all training sources, one for all of validation, one a test set."""
    return f"test/{source}.jsonl" if split == "test" else f"{split}.jsonl"


def _result(context: StageContext, sources: Sequence[_Source], overlap: Overlap) -> StageResult:
    for warning in overlap.warnings():
        context.telemetry.emit(Note(context.stage.name, warning, warning=True))
    sets = {one.list.label: one.statistics.document() for one in sources}
    if unused := _unused(sources):
        message = f"{unused}: {join_uri(context.uri, REJECTS)}"
        context.telemetry.emit(Note(context.stage.name, message, warning=True))
    document = {"sets": sets, "overlap": overlap.document()}
    text = json.dumps(document, ensure_ascii=False, indent=1)
    (context.directory / STATISTICS).write_text(text + "\n", encoding="utf-8")
    outputs = {list_name(one.list.split, one.list.name).removesuffix(".jsonl"): "" for one in sources}
    outputs = {role: f"{role}.jsonl" for role in outputs}
    return StageResult(
        outputs=outputs | {"rejects": REJECTS, "statistics": STATISTICS},
        metrics={
            "lines": sum(one.statistics.lines for one in sources),
            "rejected": sum(one.statistics.rejected.total() for one in sources),
            "utterances": sum(one.statistics.utterances for one in sources),
            "trainUtterances": sum(one.statistics.utterances for one in sources if one.list.split == "train"),
            "trainHours": sum(one.statistics.seconds for one in sources if one.list.split == "train") / 3600,
        },
        details=document,
    )


def _unused(sources: Sequence[_Source]) -> str:
    """How many lines are left out, and why; empty where none is."""
    reasons: Counter[str] = Counter()
    for one in sources:
        reasons.update(one.statistics.rejected)
    number = reasons.total()
    if not number:
        return ""
    parts = [f"{reason} {count}" for reason, count in reasons.most_common(_REASONS)]
    parts += ["…"] if len(reasons) > _REASONS else []
    return f"{number} {'line was' if number == 1 else 'lines were'} not used ({', '.join(parts)})"
