"""Runs a training job: in this process when it is alone, else as a gang of processes by torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import torch

from asrtune_api.errors import AsrtuneError, ExitCode, InterruptedRunError, OutOfMemoryError, SpecInvalidError
from asrtune_trainer.faults import Failure
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.telemetry.events import Telemetry
from asrtune_trainer.telemetry.wire import from_json
from asrtune_trainer.train.gang import Gang, detect_device
from asrtune_trainer.train.job import TrainJob, TrainSummary
from asrtune_trainer.train.worker import Outcome, train

POLL_SECONDS = 0.2
DRAIN_SECONDS = 10.0
LOG_TAIL_LINES = 15


def launch(job: TrainJob, telemetry: Telemetry, mirror: Mirror, stop: StopSignal) -> TrainSummary:
    """Train as the job's gang says.

    Raises:
        AsrtuneError: as the training says, or if a process of the gang died.
    """
    gang = job.run.gang
    if gang.nodes > 1:
        raise SpecInvalidError(
            f"the gang has {gang.nodes} nodes, but this is one machine.",
            where="spec.resources.nodes",
            remedy="Run it with --set resources.nodes=1, or apply it to a cluster.",
        )
    _check_devices(job)
    if gang.processes_per_node == 1:
        return train(job, Gang(0, 1, detect_device()), telemetry, mirror, stop)
    return _Gang(job, telemetry, stop).run()


def _check_devices(job: TrainJob) -> None:
    """A gang that asks for GPUs must find them; NCCL takes one process a GPU.

    Raises:
        SpecInvalidError: if there are fewer than asked for.
    """
    gang, there = job.run.gang, torch.cuda.device_count()
    wanted = max(gang.gpus_per_node, gang.processes_per_node if there and gang.processes_per_node > 1 else 0)
    if wanted > there:
        raise SpecInvalidError(
            f"{wanted} GPUs are asked for, but this machine shows {there}.",
            where="spec.resources.gpusPerNode",
            remedy=f"Run it with --set resources.gpusPerNode={there}, or check the driver and CUDA_VISIBLE_DEVICES.",
            reason="DevicesMissing",
        )


class _Gang:
    """torchrun and its workers, watched from here."""

    def __init__(self, job: TrainJob, telemetry: Telemetry, stop: StopSignal) -> None:
        self._job = job
        self._telemetry = telemetry
        self._stop = stop
        self._leader: int | None = None
        self._outcome: Outcome | None = None

    def run(self) -> TrainSummary:
        with tempfile.TemporaryDirectory(prefix="asrtune-gang-") as folder:
            log = Path(folder) / "workers.log"
            with (
                Listener(str(Path(folder) / "socket"), family="AF_UNIX") as listener,
                log.open("wb") as stream,
            ):
                reader = threading.Thread(target=self._read, args=(listener,), daemon=True)
                reader.start()
                process = self._start(Path(folder), stream.fileno())
                self._watch(process)
                if self._leader is not None:
                    reader.join(DRAIN_SECONDS)
            return self._result(process.returncode, log)

    def _start(self, folder: Path, log: int) -> subprocess.Popen[bytes]:
        job_file = folder / "job.json"
        job_file.write_text(self._job.model_dump_json())
        processes = self._job.run.gang.processes_per_node
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
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

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Until torchrun ends; a wish to stop goes to rank 0, which tells the others."""
        asked = False
        while process.poll() is None:
            if self._stop and not asked:
                asked = True
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(self._leader or process.pid, signal.SIGTERM)
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue

    def _read(self, listener: Listener) -> None:
        """Events and the outcome, from rank 0."""
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
            self._telemetry.emit(from_json(message))

    def _result(self, code: int, log: Path) -> TrainSummary:
        if self._outcome is not None and self._outcome.summary is not None and code == 0:
            return self._outcome.summary
        if (failure := self._cause(log.parent)) is not None:
            raise failure.error()
        if self._stop:
            raise InterruptedRunError(
                f"stopped by {self._stop.cause} before the gang was ready.",
                remedy="Run the same command again.",
            )
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        if "SIGKILL" in tail or "exitcode: -9" in tail:
            raise OutOfMemoryError(
                "a training process was killed, most likely because memory ran out.",
                remedy="Lower train.batch.size or train.workers, or give more memory.",
            )
        raise AsrtuneError(
            f"the training gang failed (exit code {code}):\n{tail}", where=f"stage {self._job.stage}"
        )

    def _cause(self, folder: Path) -> Failure | None:
        """What ailed the gang: where one rank fails, the others fail too, and know only that it is gone."""
        own = [self._outcome.failure] if self._outcome is not None and self._outcome.failure else []
        others = [Failure.model_validate_json(path.read_bytes()) for path in folder.glob("failure-*.json")]
        causes = [one for one in (*own, *others) if one.exit_code != ExitCode.INTERNAL]
        return next(iter((*causes, *own)), None)
