"""Any node but 0: calls node 0, and does as it says."""

from __future__ import annotations

import socket
import time
from multiprocessing.connection import wait
from typing import Final

from asrtune_api.errors import StorageUnavailableError
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.nodes.line import Line, Word
from asrtune_trainer.train.nodes.peers import NEWS_SECONDS, POLL_SECONDS, Finished, Meeting, Peers, Report

_CALL_SECONDS: Final = 5.0
"""For one try to connect."""
_ANSWER_SECONDS: Final = 30
"""For node 0's answer; more than it may take to deal with a caller that says nothing."""
_AGAIN_SECONDS: Final = 1.0
"""Between two tries."""


class Follower(Peers):
    """The gang as another node than 0 sees it.

    Args:
        host: name or address of node 0.
        port: where it listens.
        rank, nodes, gang, stop, patience: as in `Peers`.
    """

    def __init__(
        self, host: str, port: int, *, rank: int, nodes: int, gang: str, stop: StopSignal, patience: float
    ) -> None:
        super().__init__(rank=rank, nodes=nodes, gang=gang, stop=stop, patience=patience)
        self._host = host
        self._port = port
        self._line: Line | None = None
        self._started: int | None = None
        self._finished = False
        self._given_up = ""
        """Why node 0 was not reached."""

    def meet(self, mark: str, report: Report) -> Meeting:
        told = False
        report(f"for node 0 at {self._host}:{self._port}")
        while self._started is None:
            self._stop.check()
            if self._finished:
                raise Finished
            if self._given_up:
                raise self._not_reached()
            if self._line is not None and not told:
                told = True
                self._line.say(Word(kind="ready", node=self.rank, mark=mark))
                report("for the other nodes")
            with self._news:
                self._news.wait(POLL_SECONDS)
        report("")
        return Meeting(self._host, self._started)

    def _not_reached(self) -> StorageUnavailableError:
        return StorageUnavailableError(
            f"node 0 was not reached in {self._patience:g} s: {self._given_up}.",
            where=f"--rendezvous {self._host}:{self._port}",
            remedy="Look at why its pod does not run, and whether the name and the port lead to it.",
            reason="RendezvousTimeout",
        )

    def _work(self) -> None:
        self._line = line = self._call()
        self._notify()
        if line is None:
            return
        while not self._leaving:
            if wait([line.fileno()], POLL_SECONDS):
                word = line.hear()
                if word is None:
                    self._lost()
                    return
                self._heard(word)
            self._pass_on_stop()

    def _call(self) -> Line | None:
        """A line to node 0 that it has accepted; None where there is none in time."""
        deadline = time.monotonic() + self._patience
        while not (self._leaving or self._stop):
            try:
                connected = socket.create_connection((self._host, self._port), _CALL_SECONDS)
                line, why = self._introduce(Line(connected, _ANSWER_SECONDS))
            except OSError as error:
                line, why = None, str(error)
            if line is not None:
                return line
            if time.monotonic() > deadline:
                self._given_up = why
                return None
            self._stop.wait(_AGAIN_SECONDS)
        return None

    def _introduce(self, line: Line) -> tuple[Line | None, str]:
        """The line if node 0 takes it, else why not: an earlier attempt's may still be there for a moment."""
        line.say(Word(kind="hello", node=self.rank, gang=self._gang))
        answer = line.hear()
        if answer is not None and answer.kind == "welcome":
            return line, ""
        line.close()
        return None, answer.text if answer is not None else "it hangs up"

    def _lost(self) -> None:
        if not (self._finished or self._leaving):
            self._heard_end(0, None)
        self._notify()

    def _heard(self, word: Word) -> None:
        match word.kind:
            case "start":
                self._started = word.port
            case "stop":
                self._heard_stop(word)
            case "failed":
                self._heard_end(word.node, word.failure)
            case "done":
                self._finished = True
            case _:
                pass
        self._notify()

    def _say(self, word: Word) -> None:
        if self._line is not None:
            self._line.say(word)

    def _leave(self, word: Word) -> None:
        if word.kind == "failed" and not self._stop:
            # Node 0 must hear of it, even if it has not answered yet: it would wait for this node.
            with self._news:
                self._news.wait_for(lambda: self._line is not None or self._given_up, NEWS_SECONDS)
        self._leaving = True
        self._thread.join(_CALL_SECONDS + POLL_SECONDS)
        self._say(word)
        if self._line is not None:
            self._line.close()
