"""The other nodes of a gang: who is there, who is ready, who was asked to stop, who has failed.

torchrun joins the processes of all nodes, but it waits for late ones without a word, does not see that a machine is
gone, and tells nobody why it ends. So each node's launcher keeps one connection to node 0's, from its start to its end.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from asrtune_api.errors import AsrtuneError, ExitCode, InterruptedRunError
from asrtune_trainer.faults import PEER_LOST, Failure, as_asrtune_error
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.nodes.line import Word

POLL_SECONDS: Final = 0.2
NEWS_SECONDS: Final = 10.0
"""How long a node that has lost its connections waits to hear which node has failed, and of what."""

Report = Callable[[str], None]
"""Says what is waited for; empty: nothing any more."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where torchrun's agents meet.

    Attributes:
        host: of node 0, as seen from here.
        port: likewise.
    """

    host: str
    port: int


class Finished(Exception):  # noqa: N818 (no error: node 0 has nothing to train)
    """Node 0 is done: there is nothing left to join."""


class Peers(ABC):
    """The gang as one node's launcher sees it. A context manager: at its end the others hear how it ended.

    Args:
        rank: this node.
        nodes: how many there are.
        gang: which run and attempt: nodes of another one are turned away.
        stop: set when any node was asked to stop, or has failed.
        patience: seconds that the gang has to come together.
    """

    def __init__(self, *, rank: int, nodes: int, gang: str, stop: StopSignal, patience: float) -> None:
        self.rank = rank
        self.nodes = nodes
        self.trouble: AsrtuneError | None = None
        """How another node ended, where that was not in good order."""
        self._gang = gang
        self._stop = stop
        self._patience = patience
        self._news = threading.Condition()
        self._passed_on = False
        self._trouble_came_first = False
        self._leaving = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._work, name="nodes of the gang", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Finished):
            self._leave(Word(kind="done", node=self.rank))
            return
        final = self._settle(error)
        self._leave(Word(kind="failed", node=self.rank, failure=Failure.of(final)))
        if final is not error:
            raise final from error

    @abstractmethod
    def meet(self, mark: str, report: Report) -> Meeting:
        """Wait until all nodes are ready to train.

        Args:
            mark: fingerprint of the stage.
            report: hears what is waited for.

        Raises:
            Finished: node 0 needs nobody any more.
            StorageUnavailableError: not all nodes came in time.
            SpecInvalidError: the nodes do not see the same data.
            InterruptedRunError: this node or another was asked to stop, or has failed.
        """

    @abstractmethod
    def _work(self) -> None:
        """Hear and pass on, until told to end."""

    @abstractmethod
    def _say(self, word: Word) -> None:
        """Tell the others."""

    @abstractmethod
    def _leave(self, word: Word) -> None:
        """Say a last word and hang up."""

    def _pass_on_stop(self) -> None:
        """Tell the others of a wish to stop, once."""
        if self._stop and not self._passed_on:
            self._passed_on = True
            cause = self._stop.cause
            text = cause if " on node " in cause else f"{cause} on node {self.rank}"
            self._say(Word(kind="stop", node=self.rank, text=text))

    def _heard_stop(self, word: Word) -> None:
        self._stop.set(word.text)
        self._notify()

    def _heard_end(self, node: int, failure: Failure | None) -> None:
        """Another node has failed, or is gone."""
        if failure is not None and (failure.exit_code, failure.reason) == (
            ExitCode.INTERRUPTED,
            InterruptedRunError.reason,
        ):
            self._stop.set(f"a signal on node {node}")  # in good order: this node will end so, too
            return
        with self._news:
            if self.trouble is None:
                self.trouble = _trouble(node, failure)
                self._trouble_came_first = not self._stop
                self._passed_on = True  # they hear of the cause instead
            self._news.notify_all()
        self._stop.set(f"the end of node {node}")

    def _notify(self) -> None:
        with self._news:
            self._news.notify_all()

    def _settle(self, error: BaseException) -> AsrtuneError:
        """What to call this node's end: where another node is the cause, that."""
        own = as_asrtune_error(error)
        if own.reason == PEER_LOST:
            with self._news:
                self._news.wait_for(lambda: self.trouble is not None, NEWS_SECONDS)
        if self.trouble is None:
            return own
        orderly = own.exit_code == ExitCode.INTERRUPTED and own.reason != PEER_LOST
        mere = own.exit_code == ExitCode.INTERNAL or own.reason == PEER_LOST
        return self.trouble if mere or (orderly and self._trouble_came_first) else own


def _trouble(node: int, failure: Failure | None) -> AsrtuneError:
    remedy = "The gang starts again as a whole; nothing is to be done here."
    if failure is None:
        return InterruptedRunError(
            f"node {node} of the gang is gone without a word: it was killed or cut off.",
            remedy=remedy,
            reason=PEER_LOST,
        )
    return InterruptedRunError(
        f"node {node} of the gang failed: {failure.error()}",
        remedy=remedy,
        reason="PeerFailed",
    )
