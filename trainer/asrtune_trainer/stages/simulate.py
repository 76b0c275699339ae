"""Simulate: telephone versions of the training and validation utterances. Test sets are never touched."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile

from asrtune_api.errors import DataInvalidError, SpecInvalidError
from asrtune_api.stages import NoiseColour, SimulateParams, Split, StageSpec, StageType
from asrtune_trainer.data.audio import SAMPLE_RATE, AudioError, load_audio, mix_down, probe, read_audio
from asrtune_trainer.data.cache import AudioCache
from asrtune_trainer.data.channel import LINE_RATE, TALKERS, Channel, Line, draw_channel
from asrtune_trainer.data.pool import worker_pool
from asrtune_trainer.data.utterance import Utterance, frames_of, read_utterances, write_utterances
from asrtune_trainer.stages.base import StageContext, StageResult
from asrtune_trainer.stages.progress import Progress

_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class _Task:
    """One file to write."""

    utterance: Utterance
    """With its key of before and a local source."""
    copy: int
    channel: Channel
    voices: tuple[str, ...]
    """Other utterances' audio, for babble."""
    path: str
    """Where it is written, relative to the stage's directory."""


class SimulateStage:
    """Sends utterances over simulated telephone lines."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        """The last stage that leaves lists of utterances.

        Raises:
            SpecInvalidError: if there is none.
        """
        names = [one.name for one in before if one.type in {StageType.PREPARE, StageType.SIMULATE}]
        if not names:
            raise SpecInvalidError(
                f"stage {stage.name} has no data to work on.",
                where=f"spec.stages[{stage.name}]",
                remedy="Put a Prepare stage before it.",
            )
        return names[-1:]

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        """The seed of the channels. Prepare's statistics hold a digest of all audio."""
        return {"seed": str(context.run.seed)}

    def run(self, context: StageContext) -> StageResult:
        """Write the audio and the new lists. Files that an interrupted attempt has finished are kept.

        Raises:
            SpecInvalidError: a source that is to be simulated does not exist.
            DataInvalidError: audio has gone or changed since Prepare.
        """
        params = context.params(SimulateParams)
        _check_sources(context, params)
        tasks = {split: _tasks(context, params, split) for split in Split}
        total = sum(map(len, tasks.values()))
        progress = Progress(context, "simulated", total)
        work = partial(_simulate, context.directory, Line(params.low_hz, params.high_hz))
        made: dict[Split, list[Utterance]] = {}
        with worker_pool(params.workers, total) as pool:
            for split in Split:
                made[split] = []
                for task, seconds in zip(tasks[split], pool.map(work, tasks[split]), strict=True):
                    made[split].append(_simulated(task, seconds))
                    progress.step()
        kept = {split: list(_kept(context, params, split)) for split in Split}
        for split in Split:
            write_utterances(context.directory / _list(split), [*kept[split], *made[split]])
        return StageResult(
            outputs={split.lower(): _list(split) for split in Split},
            metrics={
                "simulated": total,
                "passedThrough": sum(map(len, kept.values())),
                "simulatedHours": sum(one.seconds for group in made.values() for one in group) / 3600,
            },
            details={split.lower(): _details(tasks[split]) for split in Split if tasks[split]},
        )


def _list(split: Split) -> str:
    return f"{split.lower()}.jsonl"


def _check_sources(context: StageContext, params: SimulateParams) -> None:
    known = {source.name for source in (*context.run.data.train, *context.run.data.validation)}
    if unknown := [name for name in params.sources if name not in known]:
        raise SpecInvalidError(
            f"there is no training or validation source {', '.join(unknown)}.",
            where=f"spec.stages[{context.stage.name}].simulate.sources",
            remedy=f"Choose among {', '.join(sorted(known))}.",
        )


def _tasks(context: StageContext, params: SimulateParams, split: Split) -> list[_Task]:
    """Every file to write for a split, in the order of the list, copies of one utterance together."""
    chosen = [one for one in _upstream(context, split) if _is_simulated(one, params, split)]
    chosen = AudioCache(context.scratch, context.stores).localise(chosen)
    training = split is Split.TRAIN
    copies, speeds = (params.copies, params.speed_percents) if training else (1, [100])
    tasks = []
    for utterance in chosen:
        for copy in range(1, copies + 1):
            channel = draw_channel(params, context.run.seed, f"{split}/{utterance.key}", copy, speeds=speeds)
            voices = _voices(channel, utterance, chosen)
            tasks.append(_Task(utterance, copy, channel, voices, _path(split, utterance.key, copy)))
    return tasks


def _is_simulated(utterance: Utterance, params: SimulateParams, split: Split) -> bool:
    return split in params.splits and (not params.sources or utterance.set in params.sources)


def _voices(channel: Channel, utterance: Utterance, pool: Sequence[Utterance]) -> tuple[str, ...]:
    """Who talks in the background: others of the same split, so that no recording crosses to another.

    Nobody where there is no other utterance; the noise is then pink.
    """
    if channel.noise is not NoiseColour.BABBLE:
        return ()
    rng = np.random.Generator(np.random.PCG64(channel.seed + 1))
    drawn = [pool[index].source for index in rng.integers(len(pool), size=4 * TALKERS)]
    return tuple([source for source in drawn if source != utterance.source][:TALKERS])


def _path(split: Split, key: str, copy: int) -> str:
    """Readable, and unique whatever the key holds."""
    name = hashlib.sha256(f"{key}\0{copy}".encode()).hexdigest()[:16]
    return f"audio/{split.lower()}/{name[:2]}/{_NAME.sub('-', key)[-60:]}-{name}.flac"


def _simulate(directory: Path, line: Line, task: _Task) -> float:
    """Write one file; returns its seconds."""
    path = directory / task.path
    if path.exists():
        return probe(path).seconds
    try:
        samples, info = read_audio(task.utterance.source)
        voices = [load_audio(voice, LINE_RATE) for voice in task.voices]
    except AudioError as error:
        raise DataInvalidError(
            f"audio has changed since the data was prepared: {error.detail}.",
            where=task.utterance.source,
            remedy="Put it back, or run the Prepare stage again.",
        ) from error
    heard = line.transmit(mix_down(samples), info.rate, task.channel, voices)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.partial")
    encoded = io.BytesIO()  # libsndfile hides why a file cannot be written; the system says it
    soundfile.write(encoded, heard, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    part.write_bytes(encoded.getvalue())
    part.replace(path)  # a file of this name is whole
    return len(heard) / SAMPLE_RATE


def _simulated(task: _Task, seconds: float) -> Utterance:
    return replace(
        task.utterance,
        key=f"{task.utterance.key}#tel{task.copy}",
        source=task.path,
        seconds=round(seconds, 6),
        source_len=frames_of(seconds),
    )


def _kept(context: StageContext, params: SimulateParams, split: Split) -> Iterator[Utterance]:
    """What goes on unchanged: other sources, other splits, and the originals where they are wanted."""
    made = context.latest(split.lower()).directory
    for utterance in _upstream(context, split):
        if not _is_simulated(utterance, params, split) or (params.keep_original and split is Split.TRAIN):
            ours = utterance.source
            if Path(ours).is_relative_to(made):
                ours = _adopt(Path(ours), context.directory)
            yield replace(utterance, source=ours)


def _adopt(path: Path, directory: Path) -> str:
    """Take over audio that the stage before made: who reads our list fetches our files alone."""
    ours = directory / "audio" / "before" / f"{path.parent.name}-{path.name}"
    if not ours.exists():
        ours.parent.mkdir(parents=True, exist_ok=True)
        try:
            ours.hardlink_to(path)
        except OSError:  # another disk, or one without links
            part = ours.with_name(f".{ours.name}.partial")
            shutil.copyfile(path, part)
            part.replace(ours)
    return ours.relative_to(directory).as_posix()


def _upstream(context: StageContext, split: Split) -> Iterator[Utterance]:
    return read_utterances(context.latest(split.lower()).path(split.lower()))


def _details(tasks: Iterable[_Task]) -> dict[str, Any]:
    """What was drawn, for the report."""
    channels = [task.channel for task in tasks]
    ratios = [channel.snr_db for channel in channels]
    return {
        "files": len(channels),
        "codecs": dict(Counter(channel.codec.value for channel in channels)),
        "noises": dict(Counter(channel.noise.value for channel in channels)),
        "speedPercents": {
            str(k): n for k, n in Counter(channel.speed_percent for channel in channels).items()
        },
        "snrDb": {"lowest": min(ratios), "mean": sum(ratios) / len(ratios), "highest": max(ratios)},
    }
