"""Batches on their way to the device."""

import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from asrtune_api.errors import OutOfMemoryError
from asrtune_trainer.faults import as_asrtune_error
from asrtune_trainer.models.load import load_model
from asrtune_trainer.train.feed import Feed, Loaded
from tools.tiny_models import make_corpus, make_tiny_model


class Pinned:
    """A tensor's stand-in: pinning a real one needs a GPU."""

    pinned = False

    def pin_memory(self):
        copy = Pinned()
        copy.pinned = True
        return copy


def test_the_loader_pins_the_tensors_of_a_batch():
    loaded = Loaded({"speech": Pinned(), "text": Pinned()}, 2, 1.5, np.arange(2))
    found = pin_memory(loaded)
    assert all(tensor.pinned for tensor in found.batch.values())
    assert (found.utterances, found.audio_seconds, found.indices.tolist()) == (2, 1.5, [0, 1])


@contextmanager
def small_files():
    """No file may grow beyond 64 KiB: to shared memory that is what a small /dev/shm is, and it needs no root."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.timeout(60)
def test_a_batch_for_which_shared_memory_has_no_room_is_an_error_and_not_waited_for(tmp_path):
    model = load_model(make_tiny_model("ctc", tmp_path / "base"), device=torch.device("cpu"), seed=0)
    corpus = make_corpus(tmp_path / "audio", 8)
    feed = Feed(model, corpus, torch.device("cpu"), workers=1, cache_bytes=0)
    with small_files(), pytest.raises(RuntimeError) as raised:
        list(feed.batches([np.arange(8)]))
    error = as_asrtune_error(raised.value)
    assert isinstance(error, OutOfMemoryError)
    assert "sharedMemory" in error.remedy
