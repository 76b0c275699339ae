"""Keeps two writers from one output: an earlier attempt that a cut-off node still runs, or another run altogether.

`fence.json` at the output URI names the attempt that may write. Whoever comes later takes it over; whoever finds that
it was taken over stops. It is looked at before each checkpoint and stage is published. Between a look and the write
that follows there is a moment, since S3 has no lock; a checkpoint that two have written does not fit its manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import BaseModel, Field, ValidationError

from asrtune_api.errors import AsrtuneError, InterruptedRunError, SpecInvalidError
from asrtune_trainer.storage import ObjectMissingError, Stores, join_uri

FENCE: Final = "fence.json"

Guard = Callable[[], None]
"""Raises where this process must not write any more."""


class Attempt(BaseModel):
    """Who this process is, among all that may ever write to an output."""

    run: str
    """The run's name for people, with its namespace: another one is another run."""
    uid: str
    """Of the object: one that was deleted and made again has another."""
    stage: str
    """First stage of the part of the chain that it runs."""
    number: int
    """Counts the attempts at this part, upwards."""


class FenceRecord(BaseModel):
    """What `fence.json` holds."""

    holder: Attempt
    attempts: dict[str, int] = Field(default_factory=dict)
    """First stage -> the highest attempt that this run has made at it."""
    former: list[str] = Field(default_factory=list)
    """Uids of objects whose successors have taken over."""
    held: bool = True
    """False once the run has ended: anybody may take over."""


class Fence:
    """The fence of an output.

    Args:
        stores: reach the output.
        output: its URI.
        me: this process; None where nobody counts attempts, as on a laptop: it only keeps away from what is held.
    """

    def __init__(self, stores: Stores, output: str, me: Attempt | None) -> None:
        self._storage = stores.of(output)
        self._output = output
        self._uri = join_uri(output, FENCE)
        self.me = me

    def enter(self) -> None:
        """Take the output over.

        Raises:
            InterruptedRunError: a later attempt of this run has it.
            SpecInvalidError: another run has it, or this run's successor.
        """
        record = self._read()
        if record is None or self._may_enter(record):
            self._take(record)

    def look(self) -> None:
        """See whether this process may enter, and take nothing over yet.

        Raises:
            InterruptedRunError, SpecInvalidError: as `enter`.
        """
        record = self._read()
        if record is not None:
            self._may_enter(record)

    def check(self) -> None:
        """Look whether this process may still write.

        Raises:
            InterruptedRunError: another attempt of this run, or of its successor, has taken over.
            SpecInvalidError: another run has.
        """
        if self.me is None:
            return
        record = self._read()
        if record is None or record.holder == self.me:
            return
        holder = record.holder
        if (holder.uid, holder.stage) == (self.me.uid, self.me.stage) and holder.number < self.me.number:
            self._take(record)  # both had begun at one moment: the later attempt counts
        elif holder.run == self.me.run:
            raise self._superseded(holder)
        else:
            raise self._in_use(holder)

    def release(self) -> None:
        """Let others have the output: the run has ended. That this cannot be written is no reason to fail."""
        try:
            record = self._read()
            if record is not None and record.holder == self.me:
                self._write(record.model_copy(update={"held": False}))
        except AsrtuneError:
            return

    def _may_enter(self, record: FenceRecord) -> bool:
        """Whether to take the fence over; False where it is only kept away from."""
        holder, me = record.holder, self.me
        if me is None or (holder.run != me.run and record.held):
            if record.held:
                raise self._in_use(holder)
            return me is not None
        if holder.uid != me.uid and me.uid in record.former:
            raise self._in_use(holder)
        if holder.uid == me.uid and record.attempts.get(me.stage, 0) > me.number:
            raise self._superseded(holder)
        return True

    def _take(self, record: FenceRecord | None) -> None:
        if self.me is None:
            return
        me, former, attempts = self.me, record.former if record else [], {}
        if record is not None and record.holder.uid == me.uid:
            attempts = record.attempts
        elif record is not None and record.holder.run == me.run:
            former = [*former, record.holder.uid]
        attempts = {**attempts, me.stage: me.number}
        self._write(FenceRecord(holder=me, attempts=attempts, former=former))

    def _read(self) -> FenceRecord | None:
        try:
            with self._known_as_output():
                return FenceRecord.model_validate_json(self._storage.read_bytes(self._uri))
        except (ObjectMissingError, ValidationError):
            return None

    def _write(self, record: FenceRecord) -> None:
        with self._known_as_output():
            self._storage.write_bytes(self._uri, record.model_dump_json(indent=1).encode())

    @contextmanager
    def _known_as_output(self) -> Iterator[None]:
        """Nobody has written of a fence: what goes wrong with its file goes wrong with the output."""
        try:
            yield
        except AsrtuneError as error:
            error.where = f"spec.output.uri {self._output}"
            raise

    def _superseded(self, holder: Attempt) -> AsrtuneError:
        return InterruptedRunError(
            f"attempt {holder.number} at stage {holder.stage} of run {holder.run} has begun; this one has written "
            "nothing since.",
            where=f"spec.output.uri {self._output}",
            remedy="Nothing is to be done: the later attempt goes on.",
            reason="Superseded",
        )

    def _in_use(self, holder: Attempt) -> AsrtuneError:
        return SpecInvalidError(
            f"run {holder.run} (uid {holder.uid}) writes to this output.",
            where=f"spec.output.uri {self._output}",
            remedy=f"Choose another output, or wait for that run; if it is gone, delete {self._uri}.",
            reason="OutputInUse",
        )
