"""Puts a trainer together from a job: the one place that knows all components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from asrtune_api.errors import DataInvalidError, SpecInvalidError
from asrtune_api.stages import TrainParams
from asrtune_trainer.data.batching import Batching, Lengths, weights_of
from asrtune_trainer.data.utterance import Utterance, read_utterances
from asrtune_trainer.models.base import Batch, SpeechModel
from asrtune_trainer.models.freeze import FrozenReport, freeze, rehearsal, train_mode, unused_parameters
from asrtune_trainer.models.load import load_model
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.telemetry.events import Resumed, Telemetry
from asrtune_trainer.train.checkpoint import Checkpoints, TrainingState, load_tensors
from asrtune_trainer.train.feed import Feed
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.history import History
from asrtune_trainer.train.job import TrainJob
from asrtune_trainer.train.languages import check_languages
from asrtune_trainer.train.loop import Trainer, resume
from asrtune_trainer.train.optimizer import build_optimizer
from asrtune_trainer.train.precision import Arithmetic
from asrtune_trainer.train.progress import Progress
from asrtune_trainer.train.reporter import Reporter
from asrtune_trainer.train.schedule import LearningRate
from asrtune_trainer.train.validate import Validator
from asrtune_trainer.train.vocabulary import check_vocabulary

MEBIBYTE = 2**20
HISTORY = "history.jsonl"


@dataclass(frozen=True)
class Setup:
    """A trainer, ready to run (or to go on), and what was found on the way."""

    trainer: Trainer
    checkpoints: Checkpoints
    frozen: FrozenReport
    rejected: list[str]


def set_up(job: TrainJob, gang: Gang, telemetry: Telemetry, mirror: Mirror, stop: StopSignal) -> Setup:
    """Build everything; if there is a complete checkpoint, put the trainer where it stands."""
    torch.manual_seed(job.run.seed + gang.rank)
    params = job.params
    model = load_model(job.model, device=gang.device, seed=job.run.seed)
    if job.weights is not None:
        model.module.load_state_dict(load_tensors(job.weights))
    utterances, rejected = _fitting(list(read_utterances(job.train)), job)
    validation = list(read_utterances(job.validation))
    arithmetic = Arithmetic(params.precision, gang.device)
    check_vocabulary(model, utterances, job.stage, telemetry)
    check_languages(model, utterances, job.stage, telemetry)
    batching = _batching(utterances, job, gang.world)
    feed = _feed(model, utterances, params, gang)
    first = next(feed.batches([batching.epoch(0)[0][gang.rank]])).batch if gang.world > 1 else None
    frozen = _freeze(model, first, params, gang)
    schedule = LearningRate.of(params, _total_steps(batching, params))
    checkpoints = open_checkpoints(job, mirror)
    state = _earlier_state(gang, checkpoints)
    history = History(job.directory / HISTORY, state.progress.step if state else 0) if gang.leads else None
    trainer = Trainer(
        params=params,
        model=model,
        module=_wrap(model, first, gang, arithmetic),
        optimizer=build_optimizer(model.module, params, gang.device),
        arithmetic=arithmetic,
        schedule=schedule,
        batching=batching,
        feed=feed,
        validator=Validator(
            model,
            validation,
            _feed(model, validation, params, gang),
            batch=params.batch,
            decode=params.validation.decode_utterances,
            gang=gang,
            arithmetic=arithmetic,
        ),
        checkpoints=checkpoints,
        checkpoint_every=job.run.checkpoint.every_steps,
        gang=gang,
        reporter=Reporter(job.stage, params, batching, gang, telemetry, history),
        stop=stop,
        progress=Progress(),
    )
    torch.manual_seed(job.run.seed * 1000 + gang.rank)
    if state is not None:
        resume(trainer, state)
        telemetry.emit(Resumed(job.stage, state.progress.step, schedule.total))
    return Setup(trainer, checkpoints, frozen, rejected)


def open_checkpoints(job: TrainJob, mirror: Mirror) -> Checkpoints:
    """The checkpoints of a job, copied to its output URI, each with the history up to it."""
    return Checkpoints(
        job.directory / "checkpoints",
        keep_last=job.run.checkpoint.keep_last,
        mirror=mirror,
        published=lambda: mirror.snapshot(job.directory / HISTORY),
    )


def _earlier_state(gang: Gang, checkpoints: Checkpoints) -> TrainingState | None:
    """What training goes on from: rank 0's choice, read on every node from its own disk."""
    manifest = gang.tell(checkpoints.latest() if gang.leads else None)
    if manifest is None:
        return None
    if gang.nodes > 1:
        if gang.leads:
            checkpoints.share(manifest)
        gang.wait()
        if gang.leads_node and not gang.leads:
            checkpoints.bring(manifest)
        gang.wait()
    return checkpoints.load(manifest)


def _feed(model: SpeechModel, utterances: Sequence[Utterance], params: TrainParams, gang: Gang) -> Feed:
    return Feed(
        model,
        utterances,
        gang.device,
        workers=params.workers,
        cache_bytes=params.feature_cache_mib * MEBIBYTE,
    )


def _batching(utterances: Sequence[Utterance], job: TrainJob, world: int) -> Batching:
    sets = sorted({one.set for one in utterances})
    percent = {source.name: source.weight_percent for source in job.run.data.train}
    return Batching(
        Lengths.of(utterances, sets),
        weights_of(sets, percent),
        job.params.batch,
        job.run.seed,
        world,
    )


def _fitting(utterances: list[Utterance], job: TrainJob) -> tuple[list[Utterance], list[str]]:
    """Set utterances aside that are larger than a batch.

    Raises:
        SpecInvalidError: if they are more than the allowed share: then the batch is wrong, not the data.
        DataInvalidError: if there is nothing to train on.
    """
    if not utterances:
        raise DataInvalidError(
            "there is no training utterance.", where="spec.data.train", remedy="See rejects.jsonl."
        )
    oversized = {int(index) for index in _batching(utterances, job, 1).oversized()}
    if 100 * len(oversized) > job.run.data.max_rejected_percent * len(utterances):
        unit = job.params.batch.unit
        needed = int(Lengths.of(utterances, sorted({one.set for one in utterances})).cost(unit).max())
        raise SpecInvalidError(
            f"{len(oversized)} of {len(utterances)} training utterances are larger than a batch "
            f"of {job.params.batch.size} {unit.lower()}; the largest needs {needed}.",
            where=f"stages.{job.stage}.batch.size",
            remedy=f"Set it to {needed} or more, or lower prepare.maxMilliseconds to reject long utterances.",
            reason="BatchTooSmall",
        )
    kept = [one for index, one in enumerate(utterances) if index not in oversized]
    return kept, [utterances[index].key for index in sorted(oversized)]


def _freeze(model: SpeechModel, first: Batch | None, params: TrainParams, gang: Gang) -> FrozenReport:
    """Freeze what the spec says, and what the loss never reaches: DDP would wait for it for ever."""
    names = list(params.freeze)
    report = freeze(model, names)
    if first is not None:
        train_mode(model)
        if unused := gang.tell(unused_parameters(model, first)):
            report = freeze(model, [*names, *unused])
    if not report.trainable_parameters:
        raise SpecInvalidError(
            "nothing is left to train: every parameter is frozen.",
            where="train.freeze",
            remedy=f"Freeze fewer of {', '.join(sorted(model.components))}.",
        )
    return report


def _wrap(model: SpeechModel, first: Batch | None, gang: Gang, arithmetic: Arithmetic) -> torch.nn.Module:
    """The module, wrapped for the gang, and its buckets where they will stay.

    DDP lays its buckets out anew after its first backward pass, and another layout rounds sums of three ranks or more
    in another way. Were that pass a step, a resumed run would take it elsewhere than the undisturbed one.
    """
    module = gang.wrap(model.module)
    if first is not None:
        with rehearsal(model, first):
            with arithmetic.autocast():
                loss = model.forward(module, first).loss
            torch.autograd.backward(loss)
    return module


def _total_steps(batching: Batching, params: TrainParams) -> int:
    steps = params.epochs * math.ceil(len(batching.epoch(0)) / params.accumulate)
    return min(steps, params.max_steps) if params.max_steps is not None else steps
