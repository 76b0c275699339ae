"""What the pool's tests run in its processes: those can import `tools`, not the tests."""

import os
import signal

from asrtune_api.errors import DataInvalidError
from asrtune_trainer.data.audio import AudioError
from asrtune_trainer.data.reasons import Reason


def square(number: int) -> int:
    return number * number


def fail_at_50(number: int) -> int:
    if number == 50:
        raise DataInvalidError("broken", where="here")
    return number


def raise_audio_error(_number: int) -> int:
    raise AudioError(Reason.SILENT, "why")


def die_at_50(number: int) -> int:
    if number == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def process_of(_number: int) -> int:
    return os.getpid()
