"""One process of a training gang: alone in the caller's process, or started by torchrun.

`torchrun -m asrtune_trainer.train.worker JOB.json ADDRESS` joins the gang; the first process of each node sends its
process id, events (rank 0 alone has any), and at last the outcome, to the node's launcher, which listens at ADDRESS (a
Unix socket). Another rank that fails leaves its failure beside JOB.json.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.connection import Client, Connection
from pathlib import Path

from pydantic import BaseModel

from asrtune_api.errors import ExitCode
from asrtune_trainer.faults import Failure, as_asrtune_error
from asrtune_trainer.stages.fence import Fence
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal, stop_on_signals
from asrtune_trainer.storage.atomic import staged_file
from asrtune_trainer.storage.run import stores_of
from asrtune_trainer.telemetry.events import Event, Silent, Telemetry
from asrtune_trainer.telemetry.wire import to_json
from asrtune_trainer.train.checkpoint import verify
from asrtune_trainer.train.gang import Gang, join_gang
from asrtune_trainer.train.job import TrainJob, TrainSummary
from asrtune_trainer.train.setup import Setup, open_checkpoints, set_up

TRAINED = "trained.json"
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Outcome(BaseModel):
    """How a rank ended."""

    outcome: str = "done"
    summary: TrainSummary | None = None
    failure: Failure | None = None


def train(job: TrainJob, gang: Gang, telemetry: Telemetry, mirror: Mirror, stop: StopSignal) -> TrainSummary:
    """Train to the end and leave only the best checkpoints.

    Where an earlier attempt came to the end, but the stage was not finished (its upload takes a while, and nothing
    that is left can be gone on from), that attempt's result is taken.

    Raises:
        AsrtuneError: as the trainer and its parts say.
    """
    earlier: TrainSummary | None = gang.tell(_earlier(job) if gang.leads else None)
    if earlier is not None:
        if gang.leads:
            with closing(open_checkpoints(job, mirror)) as checkpoints:
                checkpoints.keep_only(earlier.best_steps)
        return earlier
    ready = set_up(job, gang, telemetry, mirror, stop)
    try:
        ready.trainer.run()
        summary = _summary(job, ready)
        if gang.leads:
            _write(job.directory / TRAINED, summary, mirror)
            ready.checkpoints.keep_only(summary.best_steps)
    finally:
        ready.checkpoints.close()
    gang.wait()
    return summary


def _write(path: Path, summary: TrainSummary, mirror: Mirror) -> None:
    with staged_file(path) as stream:
        stream.write(summary.model_dump_json().encode())
    mirror.write(path)


def _earlier(job: TrainJob) -> TrainSummary | None:
    """What an earlier attempt wrote at its end, if its checkpoints are whole."""
    try:
        summary = TrainSummary.model_validate_json((job.directory / TRAINED).read_bytes())
    except (OSError, ValueError):
        return None
    whole = all(verify((job.directory / path).parent) is not None for path in summary.checkpoints)
    return summary if whole else None


def _summary(job: TrainJob, ready: Setup) -> TrainSummary:
    progress = ready.trainer.progress
    ranked = progress.best(job.params.selection)
    return TrainSummary(
        steps=progress.step,
        epochs=progress.epoch,
        skipped_steps=progress.skipped,
        best_step=ranked[0].step,
        best_loss=ranked[0].loss,
        best_accuracy=ranked[0].accuracy,
        best_cer=ranked[0].cer,
        checkpoints=[f"checkpoints/step-{one.step}/model.pt" for one in ranked],
        trainable_parameters=ready.frozen.trainable_parameters,
        total_parameters=ready.frozen.total_parameters,
        rejected=ready.rejected,
    )


class _Wire:
    """Telemetry that goes to the launching process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # checkpoints are reported by the writing thread

    def emit(self, event: Event) -> None:
        self.send(to_json(event))

    def send(self, message: str) -> None:
        with self._lock:
            try:
                self._connection.send_bytes(message.encode())
            except OSError:
                return  # the launcher is gone; `_stop_without_launcher` sees it too


def _stop_without_launcher(connection: Connection, stop: StopSignal) -> None:
    """A gang whose launcher was killed must not train on: nobody would use its work."""
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        stop.set("the end of the process that started it")


def _work(job: TrainJob, telemetry: Telemetry, stop: StopSignal, tell: Callable[[Outcome], None]) -> Outcome:
    try:
        with join_gang() as gang:
            outcome = _attempt(job, gang, telemetry, stop)
            tell(outcome)  # at once: leaving a gang that has lost its step may take long
            return outcome
    except Exception as error:  # noqa: BLE001 (the launcher must hear of any)
        outcome = _failed(error)
        tell(outcome)
        return outcome


def _attempt(job: TrainJob, gang: Gang, telemetry: Telemetry, stop: StopSignal) -> Outcome:
    try:
        stores = stores_of(job.run.storage)
        fence = Fence(stores, job.run.output, job.attempt)
        mirror = Mirror(stores, job.directory, job.stage_uri, fence.check)
        return Outcome(summary=train(job, gang, telemetry, mirror, stop))
    except Exception as error:  # noqa: BLE001 (as above)
        return _failed(error)


def _failed(error: Exception) -> Outcome:
    traceback.print_exception(error)
    return Outcome(failure=Failure.of(as_asrtune_error(error)))


def _leave_failure(folder: Path, rank: str, outcome: Outcome) -> None:
    """What ailed another rank than 0: that one knows only that it is gone."""
    if outcome.failure is not None:
        with staged_file(folder / f"failure-{rank}.json") as stream:
            stream.write(outcome.failure.model_dump_json().encode())


def die_with_parent() -> None:
    """A worker whose torchrun was killed must go, too, even from within a collective that hangs (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(job_file: str, address: str) -> int:
    """Run this rank.

    Returns:
        The exit code of the error's class, or 0.
    """
    die_with_parent()
    job = TrainJob.model_validate_json(Path(job_file).read_bytes())
    with stop_on_signals(StopSignal()) as stop:
        rank = os.environ.get("RANK", "0")
        if os.environ.get("LOCAL_RANK", "0") != "0":
            outcome = _work(job, Silent(), stop, partial(_leave_failure, Path(job_file).parent, rank))
        else:
            with Client(address, family="AF_UNIX") as connection:
                wire = _Wire(connection)
                wire.send(str(os.getpid()))
                threading.Thread(target=_stop_without_launcher, args=(connection, stop), daemon=True).start()
                telemetry = wire if rank == "0" else Silent()
                outcome = _work(job, telemetry, stop, lambda one: wire.send(one.model_dump_json()))
    return outcome.failure.exit_code if outcome.failure else ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
