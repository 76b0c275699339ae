"""Batches on the device: audio to features to padded tensors, in worker processes or from a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from asrtune_api.errors import DataInvalidError
from asrtune_trainer.data.audio import AudioError, load_audio
from asrtune_trainer.data.batching import Indices
from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.base import Batch, Sample, SpeechModel

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch and what it holds."""

    batch: Batch
    utterances: int
    audio_seconds: float
    indices: Indices

    def pin_memory(self) -> Loaded:
        """The same with its batch in pinned memory; the loader looks for this name, and would pin nothing else."""
        return replace(self, batch={name: tensor.pin_memory() for name, tensor in self.batch.items()})


class _Batches(Dataset[Loaded]):
    """A data set whose items are whole batches."""

    def __init__(self, feed: Feed, order: Sequence[Indices]) -> None:
        self._feed = feed
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Loaded:
        loaded = self._feed.load(self._order[position])
        if get_worker_info() is not None:
            # The queue would do it in a thread that drops a batch for which /dev/shm has no room: the loader would wait
            # for it for ever. Here it is an error of the loader.
            for tensor in loaded.batch.values():
                tensor.share_memory_()  # type: ignore[no-untyped-call]
        return loaded


class Feed:
    """Turns lists of utterance indices into batches on a device.

    Args:
        model: makes samples and collates them.
        utterances: what the indices mean; their audio must be local.
        device: where batches go.
        workers: loading processes; none are used when everything fits into the cache.
        cache_bytes: memory for features that are kept from epoch to epoch; used only if all of them fit.
    """

    def __init__(
        self,
        model: SpeechModel,
        utterances: Sequence[Utterance],
        device: torch.device,
        *,
        workers: int,
        cache_bytes: int,
    ) -> None:
        self._model = model
        self._utterances = utterances
        self._device = device
        self._cache: dict[int, Sample] | None = {} if self._estimate_bytes() <= cache_bytes else None
        self._workers = 0 if self._cache is not None else workers

    def _estimate_bytes(self) -> int:
        first = self._sample(0)
        per_frame = first.features.numel() / max(1, self._utterances[0].source_len)
        return int(per_frame * sum(one.source_len for one in self._utterances)) * FLOAT_BYTES

    def _sample(self, index: int) -> Sample:
        utterance = self._utterances[index]
        try:
            waveform = load_audio(utterance.source, self._model.sample_rate)
        except AudioError as error:
            raise DataInvalidError(
                f"audio that was there when the data was prepared cannot be read: {error.detail}.",
                where=utterance.key,
                remedy="Put the file back, or run the Prepare stage again.",
                reason=error.reason,
            ) from error
        return self._model.sample(waveform, utterance)

    def sample(self, index: int) -> Sample:
        """Features and tokens of an utterance, from the cache where there is one."""
        if self._cache is None:
            return self._sample(index)
        if index not in self._cache:
            self._cache[index] = self._sample(index)
        return self._cache[index]

    def load(self, indices: Indices) -> Loaded:
        """A padded batch on the CPU."""
        chosen = indices.tolist()
        seconds = sum(self._utterances[index].seconds for index in chosen)
        return Loaded(
            self._model.collate([self.sample(index) for index in chosen]), len(chosen), seconds, indices
        )

    def batches(self, order: Sequence[Indices]) -> Iterator[Loaded]:
        """Batches in this order, on the device."""
        loader = DataLoader(
            _Batches(self, order),
            batch_size=None,
            shuffle=False,
            num_workers=min(self._workers, len(order)),
            pin_memory=self._device.type == "cuda",
            multiprocessing_context="fork" if self._workers and order else None,
            # The loader draws its workers' seed from here, not from the training's random state.
            generator=torch.Generator().manual_seed(0),
        )
        for loaded in loader:
            batch = {
                name: tensor.to(self._device, non_blocking=True) for name, tensor in loaded.batch.items()
            }
            yield Loaded(batch, loaded.utterances, loaded.audio_seconds, loaded.indices)

    def steps(
        self, groups: Sequence[Sequence[Indices]], rank: int, accumulate: int
    ) -> Iterator[list[Loaded]]:
        """The batches of each optimiser step of one rank; the last step of an epoch may have fewer."""
        mine = self.batches([group[rank] for group in groups])
        while step := list(islice(mine, accumulate)):
            yield step
