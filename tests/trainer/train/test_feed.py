"""Batches on their way to the device."""

import numpy as np
from torch.utils.data._utils.pin_memory import pin_memory

from asrtune_trainer.train.feed import Loaded


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
