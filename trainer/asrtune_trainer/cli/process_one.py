"""What process 1 of a container owes the others: it reaps orphans and passes signals on; a child does the work."""

from __future__ import annotations

import os
import signal
from types import FrameType

_PASSED_ON = (signal.SIGTERM, signal.SIGINT)
_KILLED = 128
"""Plus the signal's number: the exit code of a process that a signal ended, as shells and kubelets say it."""


def be_process_one() -> None:
    """Return in a child process where this is process 1 of a container, else at once.

    Called before threads are started and before anything large is imported: the parent stays small. It ends with the
    child, and the kernel with it all that the container still runs.
    """
    if os.getpid() != 1:
        return
    # Until both have their handlers, signals wait: one without a handler would be lost on process 1.
    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # Ctrl-C at a terminal then comes once, by way of the parent
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            return  # it has just ended

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
    os._exit(_reap_until(child))


def _reap_until(child: int) -> int:
    """The exit code of the child; all others that end before it are laid to rest."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _KILLED - code
