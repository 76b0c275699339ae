"""Decodes lists of utterances in batches of similar length; audio is read ahead by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import torch

from asrtune_api.errors import DataInvalidError, OutOfMemoryError
from asrtune_trainer.data.audio import AudioError, load_audio
from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.stages.stop import StopSignal

_READERS = min(8, os.cpu_count() or 1)
_READ_AHEAD = 2
"""Batches whose features are made while one is decoded."""

Batches = list[list[Utterance]]


def length_batches(utterances: Sequence[Utterance], batch_seconds: float) -> Batches:
    """Batches of at most `batch_seconds` of audio, padding included; a longer utterance is alone.

    The order of the utterances does not matter. The longest come first: what needs too much memory fails at once.
    """
    batches: Batches = []
    for utterance in sorted(utterances, key=lambda one: (-one.seconds, one.key)):
        if batches and batches[-1][0].seconds * (len(batches[-1]) + 1) <= batch_seconds:
            batches[-1].append(utterance)
        else:
            batches.append([utterance])
    return batches


def decode(
    model: SpeechModel,
    utterances: Sequence[Utterance],
    *,
    batch_seconds: float,
    stop: StopSignal,
    progress: Callable[[int], None],
) -> dict[str, str]:
    """Transcribe utterances whose audio lies on this machine.

    Args:
        model: decodes on the device that its module lies on.
        utterances: in any order.
        batch_seconds: audio decoded at once, padding included.
        stop: looked at between batches.
        progress: told the number of utterances done.

    Returns:
        transcripts by key, in the order of the utterances.

    Raises:
        DataInvalidError: if audio that was there when the data was prepared cannot be read.
        OutOfMemoryError: if a batch does not fit into memory.
        InterruptedRunError: if the run was asked to stop.
    """
    found: dict[str, str] = {}
    device = next(model.module.parameters()).device
    for batch, features in _read_ahead(model, length_batches(utterances, batch_seconds)):
        stop.check()
        try:
            texts = model.decode(
                [one.to(device, non_blocking=True) for one in features], [one.language for one in batch]
            )
        except torch.OutOfMemoryError as error:
            longest = batch[0].seconds
            raise OutOfMemoryError(
                f"{len(batch)} utterances of up to {longest:.1f} s cannot be decoded at once.",
                where="evaluate.batchSeconds",
                remedy=f"Set it to {max(1, int(batch_seconds / 2))} or less.",
            ) from error
        found.update(zip((one.key for one in batch), texts, strict=True))
        progress(len(found))
    return {one.key: found[one.key] for one in utterances}


def _read_ahead(model: SpeechModel, batches: Batches) -> Iterator[tuple[list[Utterance], list[torch.Tensor]]]:
    """Batches with their features [frames, dim]."""
    todo = iter(batches)
    running: deque[tuple[list[Utterance], list[Future[torch.Tensor]]]] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="read-audio")
    try:
        while True:
            for batch in islice(todo, _READ_AHEAD + 1 - len(running)):
                running.append((batch, [pool.submit(_features, model, one) for one in batch]))
            if not running:
                return
            batch, futures = running.popleft()
            yield batch, [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def _features(model: SpeechModel, utterance: Utterance) -> torch.Tensor:
    try:
        waveform = load_audio(utterance.source, model.sample_rate)
    except AudioError as error:
        raise DataInvalidError(
            f"audio that was there when the data was prepared cannot be read: {error.detail}.",
            where=utterance.key,
            remedy="Put the file back, or run the Prepare stage again.",
            reason=error.reason,
        ) from error
    return model.sample(waveform, utterance).features
