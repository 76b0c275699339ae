"""Node 0: hears all others, and passes on what each says."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from multiprocessing.connection import wait
from typing import Any, Final

from asrtune_api.errors import SpecInvalidError, StorageUnavailableError
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.nodes.line import Line, Word
from asrtune_trainer.train.nodes.peers import POLL_SECONDS, Meeting, Peers, Report

_WORD_SECONDS: Final = 2
"""For the rest of a message that has begun: one caller must not keep the others waiting."""
_NAMED: Final = 8
"""Missing nodes that a message names."""


class Leader(Peers):
    """The gang as node 0 sees it.

    Args:
        port: where the others call.
        nodes, gang, stop, patience: as in `Peers`.

    Raises:
        SpecInvalidError: the port is taken.
    """

    def __init__(self, port: int, *, nodes: int, gang: str, stop: StopSignal, patience: float) -> None:
        super().__init__(rank=0, nodes=nodes, gang=gang, stop=stop, patience=patience)
        self._server = _listen(port, nodes)
        self._lines: dict[int, Line] = {}
        self._strangers: set[Line] = set()
        self._marks: dict[int, str] = {}
        self._done: set[int] = set()
        self._opened = time.monotonic()

    def meet(self, mark: str, report: Report) -> Meeting:
        self._marks[0] = mark
        while waiting := self._waiting_for():
            report(waiting)
            with self._news:
                self._news.wait(POLL_SECONDS)
            self._stop.check()
            self._check_patience()
        report("")
        self._check_marks(mark)
        # torchrun's store cannot have the port where the others call: they stay on the line.
        port = _free_port()
        self._say(Word(kind="start", node=0, port=port))
        return Meeting("localhost", port)

    def _waiting_for(self) -> str:
        absent = self._absent()
        if absent:
            return f"for {len(absent)} of {self.nodes} nodes: {_named(absent)}"
        unready = [node for node in range(self.nodes) if node not in self._marks]
        return f"for {_named(unready)} to fetch model and data" if unready else ""

    def _absent(self) -> list[int]:
        return [node for node in range(1, self.nodes) if node not in self._lines]

    def _check_patience(self) -> None:
        absent = self._absent()
        if absent and time.monotonic() - self._opened > self._patience:
            raise StorageUnavailableError(
                f"{len(absent)} of {self.nodes} nodes did not come in {self._patience:g} s: {_named(absent)}.",
                where="the gang's rendezvous",
                remedy="Look at why their pods do not run, and whether they reach node 0.",
                reason="RendezvousTimeout",
            )

    def _check_marks(self, mark: str) -> None:
        other = [node for node, theirs in sorted(self._marks.items()) if theirs != mark]
        if other:
            raise SpecInvalidError(
                f"{_named(other)} of the gang: the data or the base model there is not what node 0 sees.",
                where="spec.data, spec.model",
                remedy="Let all nodes see the same files: on S3, or on a volume that all of them mount.",
                reason="GangMismatch",
            )

    def _work(self) -> None:
        while not self._leaving:
            sources: list[Any] = [self._server, *self._lines.values(), *self._strangers]
            for source in wait(sources, POLL_SECONDS):
                if source is self._server:
                    self._accept()
                else:
                    self._hear(source)
            self._pass_on_stop()

    def _accept(self) -> None:
        try:
            connected, _ = self._server.accept()
        except OSError:
            return
        self._strangers.add(Line(connected, _WORD_SECONDS))

    def _hear(self, line: Any) -> None:
        word = line.hear()
        node = next((one for one, known in self._lines.items() if known is line), None)
        if word is None:
            self._lost(line, node)
        elif node is None:
            self._greet(line, word)
        else:
            self._follow_up(node, word)

    def _lost(self, line: Line, node: int | None) -> None:
        line.close()
        self._strangers.discard(line)
        if node is None:
            return
        del self._lines[node]
        if node not in self._done and not self._leaving:
            self._say(Word(kind="failed", node=node))
            self._heard_end(node, None)

    def _greet(self, line: Line, word: Word) -> None:
        self._strangers.discard(line)
        why = ""
        if word.kind != "hello" or word.gang != self._gang:
            why = "it belongs to another run or attempt"
        elif word.node in self._lines or word.node in self._done or not 0 < word.node < self.nodes:
            why = f"there is a node {word.node} already, or there are only {self.nodes} nodes"
        if why:
            line.say(Word(kind="refused", node=0, text=why))
            line.close()
            return
        line.say(Word(kind="welcome", node=0))
        self._lines[word.node] = line
        self._notify()

    def _follow_up(self, node: int, word: Word) -> None:
        match word.kind:
            case "ready":
                self._marks[node] = word.mark
                self._notify()
            case "stop":
                self._heard_stop(word)
            case "done":
                self._done.add(node)
            case "failed":
                self._done.add(node)
                self._say(word, but=(node,))
                self._heard_end(node, word.failure)
            case _:
                pass

    def _say(self, word: Word, *, but: Collection[int] = ()) -> None:
        for node, line in list(self._lines.items()):
            if node not in but and node not in self._done:
                line.say(word)

    def _leave(self, word: Word) -> None:
        self._leaving = True
        self._thread.join()
        self._say(word)
        self._server.close()
        for line in (*self._lines.values(), *self._strangers):
            line.close()


def _listen(port: int, backlog: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=both)
    except OSError as error:
        raise SpecInvalidError(
            f"port {port} cannot be had: {error}.",
            where="--rendezvous",
            remedy="Use another port; with the host's network each run needs its own.",
            reason="PortInUse",
        ) from error


def _free_port() -> int:
    with socket.create_server(("", 0)) as free:
        return int(free.getsockname()[1])


def _named(nodes: Collection[int]) -> str:
    listed = sorted(nodes)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(f"node {node}" for node in listed[:_NAMED]) + more
