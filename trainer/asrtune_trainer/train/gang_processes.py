"""torchrun and the processes of a gang on this node, watched from the launcher."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from asrtune_api.errors import AsrtuneError, ExitCode, InterruptedRunError, OutOfMemoryError
from asrtune_trainer.faults import PEER_LOST, Failure
from asrtune_trainer.memory import OomKills
from asrtune_trainer.stages.base import Node
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.telemetry.events import Checkpointed, Saving, Telemetry
from asrtune_trainer.telemetry.wire import from_json
from asrtune_trainer.train.job import TrainJob, TrainSummary
from asrtune_trainer.train.nodes.peers import Meeting
from asrtune_trainer.train.worker import Outcome

POLL_SECONDS = 0.2
DRAIN_SECONDS = 10.0
LOG_TAIL_LINES = 15
TAIL_BYTES = 65_536
SETTLE_SECONDS = 5.0
"""How long the processes may take to end by themselves when another node has failed."""
LAUNCH_SECONDS = 600
"""For torchrun's agents to meet; all nodes are ready by then."""
LONG_SECONDS = 3600
"""For a checkpoint to be saved where nobody sets a limit."""
_AGENT_ENDS_GANG = b"closing signal"
"""What torchrun's agent logs when a process of the gang has failed and it ends the others."""


class GangProcesses:
    """One node's part of a gang.

    Args:
        job: what to train.
        telemetry: gets rank 0's events.
        stop: the wish to stop.
        node: this machine's place among the nodes.
        meeting: where torchrun's agents meet; None on a single node.
    """

    def __init__(
        self, job: TrainJob, telemetry: Telemetry, stop: StopSignal, node: Node, meeting: Meeting | None
    ) -> None:
        self._job = job
        self._telemetry = telemetry
        self._stop = stop
        self._node = node
        self._meeting = meeting
        self._leader: int | None = None
        self._outcome: Outcome | None = None
        self._saving = False
        self._ended_by_us = ""
        self._oom_kills = OomKills()

    def run(self) -> TrainSummary:
        """Until all processes of this node have ended.

        Raises:
            AsrtuneError: the most telling failure of these processes.
        """
        with tempfile.TemporaryDirectory(prefix="asrtune-gang-") as folder:
            log = Path(folder) / "workers.log"
            with (
                Listener(str(Path(folder) / "socket"), family="AF_UNIX") as listener,
                log.open("wb") as stream,
            ):
                reader = threading.Thread(target=self._read, args=(listener,), daemon=True)
                reader.start()
                process = self._start(Path(folder), stream.fileno())
                self._watch(process, log)
                if self._leader is not None:
                    reader.join(DRAIN_SECONDS)
            return self._result(process.returncode, log)

    def _start(self, folder: Path, log: int) -> subprocess.Popen[bytes]:
        job_file = folder / "job.json"
        job_file.write_text(self._job.model_dump_json())
        processes = self._job.run.gang.processes_per_node
        command = [sys.executable, "-m", "torch.distributed.run", *self._place()]
        command += [
            f"--nproc-per-node={processes}",
            # Other processes are ended when one has failed; what rank 0 is uploading then must not be cut off.
            f"--shutdown-timeout={int(self._node.grace_seconds or LONG_SECONDS)}",
        ]
        command += ["-m", "asrtune_trainer.train.worker", str(job_file), str(folder / "socket")]
        threads = str(max(1, (os.cpu_count() or 1) // processes))
        # A session of its own: Ctrl-C reaches only this process, which then asks rank 0 to stop in good order.
        # Inheritable descriptors stay open: the output's lock is held as long as the gang lives.
        return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=False,
            env={"OMP_NUM_THREADS": threads, **os.environ},
        )

    def _place(self) -> list[str]:
        if self._meeting is None:
            return ["--standalone"]
        return [
            f"--nnodes={self._job.run.gang.nodes}",
            f"--node-rank={self._node.rank}",
            "--max-restarts=0",
            "--rdzv-backend=static",
            f"--rdzv-endpoint={self._meeting.host}:{self._meeting.port}",
            f"--rdzv-conf=timeout={LAUNCH_SECONDS}",
        ]

    def _watch(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Until torchrun ends; a wish to stop goes to the first process here, which tells the others."""
        asked = failed = math.inf
        while process.poll() is None:
            now = time.monotonic()
            if self._stop and asked == math.inf:
                asked = now
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(self._leader or process.pid, signal.SIGTERM)
            if self._has_failed(log):
                failed = min(failed, now)
            if why := self._overdue(now - asked, now - failed):
                self._ended_by_us = why
                process.kill()  # its workers die with it
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)

    def _has_failed(self, log: Path) -> bool:
        """Whether a process of the gang is gone, here or on another node: the others may hang, waiting for it."""
        peers = self._node.peers
        if peers is not None and peers.trouble is not None:
            return True
        return bool(self._failures(log.parent)) or _AGENT_ENDS_GANG in _tail(log)

    def _overdue(self, asked_seconds: float, failed_seconds: float) -> str:
        """Why the processes are to be killed; empty where they still have time.

        Args:
            asked_seconds: since they were asked to stop; negative infinity where they were not.
            failed_seconds: since one of the gang failed; likewise.
        """
        grace = self._node.grace_seconds
        if grace is not None and asked_seconds > max(grace - SETTLE_SECONDS, 0.8 * grace):
            return "they were not done in time"
        if failed_seconds > SETTLE_SECONDS and not self._saving:
            return "a process of the gang had failed"
        return ""

    def _read(self, listener: Listener) -> None:
        """Events and the outcome, from the first process of this node."""
        try:
            with listener.accept() as connection:
                self._leader = int(connection.recv_bytes())
                self._relay(connection)
        except (EOFError, OSError):
            return

    def _relay(self, connection: Connection) -> None:
        while True:
            message = connection.recv_bytes().decode()
            if message.startswith("{") and '"outcome"' in message[:12]:
                self._outcome = Outcome.model_validate_json(message)
                return
            event = from_json(message)
            if isinstance(event, Saving | Checkpointed):
                self._saving = isinstance(event, Saving)
            self._telemetry.emit(event)

    def _result(self, code: int, log: Path) -> TrainSummary:
        if self._outcome is not None and self._outcome.summary is not None and code == 0:
            return self._outcome.summary
        tail = "\n".join(_tail(log).decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        failures = self._failures(log.parent)
        failure = min(failures, key=_mereness, default=None)
        if failure is not None and _mereness(failure) == 0:
            raise failure.error()
        if "SIGKILL" in tail or "exitcode: -9" in tail:
            raise _killed(self._oom_kills)
        if failure is not None:
            raise failure.error()
        if self._stop:
            raise InterruptedRunError(
                f"stopped by {self._stop.cause}; the processes were ended, since {self._ended_by_us}."
                if self._ended_by_us
                else f"stopped by {self._stop.cause} before the gang was ready.",
                remedy="Run the same command again; it goes on after the last checkpoint.",
                reason="GracePeriodExceeded" if self._ended_by_us else "",
            )
        raise AsrtuneError(
            f"the training gang failed (exit code {code}):\n{tail}", where=f"stage {self._job.stage}"
        )

    def _failures(self, folder: Path) -> list[Failure]:
        """What the processes of this node said: where one rank fails, the others fail too, and know only that."""
        own = [self._outcome.failure] if self._outcome is not None and self._outcome.failure else []
        return own + [
            Failure.model_validate_json(path.read_bytes()) for path in folder.glob("failure-*.json")
        ]


def _killed(kills: OomKills) -> AsrtuneError:
    for_memory = kills.happened
    if for_memory is False:
        return AsrtuneError(
            "a training process was killed from outside (SIGKILL), and not for want of memory.",
            remedy="Ask who runs the machine.",
            reason="WorkerKilled",
        )
    return OutOfMemoryError(
        "a training process was killed, "
        + ("as" if for_memory else "most likely because")
        + " memory ran out.",
        remedy="Lower train.batch.size or train.workers, or give more memory.",
    )


def _tail(log: Path) -> bytes:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return stream.read()


def _mereness(failure: Failure) -> int:
    """0 for a cause; more for what may be only the consequence of another process's end."""
    if failure.reason == PEER_LOST:
        return 2
    return int(failure.exit_code == ExitCode.INTERNAL)
