"""What was raised, put into words: a full disk is storage, not a fault of ours."""

import pickle
from pathlib import Path

import pytest
import torch

from asrtune_api.errors import ExitCode
from asrtune_trainer.faults import Failure, as_asrtune_error

FULL = Path("/dev/full")  # the kernel answers each write with ENOSPC


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize(
    "write",
    [
        lambda: FULL.write_bytes(b"x" * 100_000),
        lambda: torch.save(torch.zeros(100_000), FULL.open("wb", buffering=0)),
    ],
)
def test_a_full_disk(write):
    with pytest.raises((OSError, RuntimeError)) as raised:
        write()
    error = as_asrtune_error(raised.value)
    assert error.exit_code == ExitCode.STORAGE_UNAVAILABLE
    assert error.reason == "DiskFull"


def test_a_full_disk_in_another_process():
    error = as_asrtune_error(pickle.loads(pickle.dumps(OSError(28, "No space left on device"))))
    assert error.reason == "DiskFull"


def test_errors_cross_processes_as_they_are():
    error = as_asrtune_error(MemoryError())
    again = Failure.of(error).error()
    assert type(again) is type(error)
    assert str(again) == str(error)
