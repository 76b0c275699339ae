"""The nodes of a gang over real sockets: they come together, stop together, and know who failed."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from asrtune_api.errors import (
    AsrtuneError,
    DataInvalidError,
    InterruptedRunError,
    SpecInvalidError,
    StorageUnavailableError,
)
from asrtune_trainer.faults import PEER_LOST
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.nodes.follower import Follower
from asrtune_trainer.train.nodes.leader import Leader
from asrtune_trainer.train.nodes.peers import Finished, Meeting, Peers
from tools.ports import free_port

SOON = 15
GANG = "run one, attempt 1"
LOST_FOLLOWER = """
import sys, time
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.train.nodes.follower import Follower
with Follower("127.0.0.1", int(sys.argv[1]), rank=1, nodes=3, gang=sys.argv[2], stop=StopSignal(), patience=30):
    time.sleep(600)
"""


class Cluster:
    """A gang whose nodes are threads."""

    def __init__(self, nodes: int, pool: ThreadPoolExecutor) -> None:
        self.nodes = nodes
        self.port = free_port()
        self.stops = [StopSignal() for _ in range(nodes)]
        self.reports: list[list[str]] = [[] for _ in range(nodes)]
        self._pool = pool

    def peers(self, rank: int, *, gang: str = GANG, patience: float = 30) -> Peers:
        common: dict[str, Any] = {
            "nodes": self.nodes,
            "gang": gang,
            "stop": self.stops[rank],
            "patience": patience,
        }
        if rank == 0:
            return Leader(self.port, **common)
        return Follower("127.0.0.1", self.port, rank=rank, **common)

    def start(self, rank: int, work: Callable[[Peers], Any], **options: Any) -> Future[Any]:
        def run() -> Any:
            with self.peers(rank, **options) as peers:
                return work(peers)

        return self._pool.submit(run)

    def meet(self, rank: int, mark: str = "same") -> Callable[[Peers], Meeting]:
        return lambda peers: peers.meet(mark, self.reports[rank].append)

    def until_stopped(self, rank: int) -> Callable[[Peers], None]:
        """Work that looks at the wish to stop, as stages do."""

        def work(_: Peers) -> None:
            deadline = time.monotonic() + SOON
            while time.monotonic() < deadline:
                self.stops[rank].check()
                time.sleep(0.02)
            raise AssertionError("nobody stopped this node")

        return work


@pytest.fixture
def cluster() -> Iterator[Callable[[int], Cluster]]:
    with ThreadPoolExecutor(8) as pool:
        yield lambda nodes: Cluster(nodes, pool)


def failure(ended: Future[Any]) -> AsrtuneError:
    with pytest.raises(AsrtuneError) as caught:
        ended.result(SOON + 5)
    return caught.value


def raising(error: Exception, after: float = 0.0) -> Callable[[Peers], None]:
    def work(_: Peers) -> None:
        time.sleep(after)
        raise error

    return work


def stay_until_all_are_there(then: Callable[[Peers], Any], meet: Callable[[Peers], Meeting]) -> Any:
    def work(peers: Peers) -> Any:
        meet(peers)
        return then(peers)

    return work


def test_they_meet_where_node_0_says(cluster):
    gang = cluster(3)
    ended = [gang.start(rank, gang.meet(rank)) for rank in range(3)]
    meetings = [one.result(SOON) for one in ended]
    assert {one.port for one in meetings} == {meetings[0].port}
    assert meetings[0].port != gang.port
    assert [one.host for one in meetings] == ["localhost", "127.0.0.1", "127.0.0.1"]
    assert all(said[-1] == "" for said in gang.reports)


def test_a_late_node_is_waited_for_by_name(cluster):
    gang = cluster(3)
    early = [gang.start(rank, gang.meet(rank)) for rank in (0, 2)]
    deadline = time.monotonic() + SOON
    while "for 1 of 3 nodes: node 1" not in gang.reports[0]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not any(one.done() for one in early)
    late = gang.start(1, gang.meet(1))
    assert {one.result(SOON).port for one in (*early, late)}


def test_node_0_gives_up_when_one_does_not_come(cluster):
    gang = cluster(2)
    error = failure(gang.start(0, gang.meet(0), patience=0.5))
    assert (type(error), error.reason) == (StorageUnavailableError, "RendezvousTimeout")
    assert "1 of 2 nodes did not come in 0.5 s: node 1" in error.message


def test_another_node_gives_up_when_node_0_is_not_there(cluster):
    gang = cluster(2)
    error = failure(gang.start(1, gang.meet(1), patience=0.5))
    assert (type(error), error.reason) == (StorageUnavailableError, "RendezvousTimeout")
    assert str(gang.port) in error.where


def test_an_unknown_host_is_told(cluster):
    follower = Follower("nowhere.invalid", 1, rank=1, nodes=2, gang=GANG, stop=StopSignal(), patience=0.2)
    with pytest.raises(StorageUnavailableError, match="node 0 was not reached"), follower:
        follower.meet("same", lambda _: None)


def test_a_node_of_another_attempt_is_turned_away_and_keeps_trying(cluster):
    gang = cluster(2)
    old = gang.start(0, gang.meet(0), gang="run one, attempt 0", patience=2)
    new = gang.start(1, gang.meet(1))
    assert failure(old).reason == "RendezvousTimeout"
    assert not new.done()
    gang.stops[0] = StopSignal()
    leader = gang.start(0, gang.meet(0))
    assert leader.result(SOON).port == new.result(SOON).port


def test_nodes_that_see_other_data_do_not_train_together(cluster):
    gang = cluster(3)
    ended = [gang.start(rank, gang.meet(rank, "other" if rank == 2 else "same")) for rank in range(3)]
    error = failure(ended[0])
    assert (type(error), error.reason) == (SpecInvalidError, "GangMismatch")
    assert error.message.startswith("node 2 of the gang")
    assert [failure(one).reason for one in ended[1:]] == ["PeerFailed", "PeerFailed"]


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_a_wish_to_stop_reaches_all(cluster, asked):
    gang = cluster(3)
    ended = [
        gang.start(rank, stay_until_all_are_there(gang.until_stopped(rank), gang.meet(rank)))
        for rank in range(3)
    ]
    deadline = time.monotonic() + SOON
    while any("" not in said for said in gang.reports):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    gang.stops[asked].set("SIGTERM")
    errors = [failure(one) for one in ended]
    assert [error.reason for error in errors] == ["Interrupted"] * 3
    assert all("SIGTERM" in error.message for error in errors)


def test_waiting_ends_at_once_when_asked_to_stop(cluster):
    gang = cluster(2)
    ended = [gang.start(1, gang.meet(1))]
    time.sleep(0.3)
    started = time.monotonic()
    gang.stops[1].set("SIGTERM")
    assert failure(ended[0]).reason == "Interrupted"
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_the_others_hear_what_ailed_one(cluster, broken):
    gang = cluster(3)
    cause = DataInvalidError("the audio is gone.", where="a.wav", reason="FileMissing")
    ended = []
    for rank in range(3):
        then = raising(cause) if rank == broken else gang.until_stopped(rank)
        ended.append(gang.start(rank, stay_until_all_are_there(then, gang.meet(rank))))
    errors = [failure(one) for one in ended]
    assert errors.pop(broken) is cause
    for error in errors:
        assert (type(error), error.reason) == (InterruptedRunError, "PeerFailed")
        assert f"node {broken} of the gang failed: a.wav: the audio is gone." in error.message


def test_a_node_that_fails_before_node_0_is_there_tells_it(cluster):
    gang = cluster(2)
    cause = DataInvalidError("the audio is gone.")
    broken = gang.start(1, raising(cause))
    time.sleep(1)
    leader = gang.start(0, gang.meet(0))
    assert failure(broken) is cause
    assert failure(leader).reason == "PeerFailed"


def test_a_broken_connection_waits_for_its_cause(cluster):
    gang = cluster(2)
    broken = InterruptedRunError("Connection closed by peer", reason=PEER_LOST)
    cause = DataInvalidError("the audio is gone.", reason="FileMissing")
    works = (raising(broken), raising(cause, after=1.0))
    ended = [gang.start(rank, stay_until_all_are_there(works[rank], gang.meet(rank))) for rank in range(2)]
    assert failure(ended[0]).reason == "PeerFailed"
    assert failure(ended[1]) is cause


def test_an_own_failure_is_not_hidden_by_anothers(cluster):
    gang = cluster(2)
    causes = [DataInvalidError("mine"), DataInvalidError("yours")]
    ended = [
        gang.start(rank, stay_until_all_are_there(raising(causes[rank], rank / 2), gang.meet(rank)))
        for rank in range(2)
    ]
    assert [failure(one) for one in ended] == causes


def test_a_node_that_was_killed_is_missed_by_all(cluster):
    gang = cluster(3)
    ended = [gang.start(0, gang.meet(0)), gang.start(2, gang.meet(2))]
    with subprocess.Popen([sys.executable, "-c", LOST_FOLLOWER, str(gang.port), GANG]) as lost:
        deadline = time.monotonic() + 60
        while not any("node 1 to fetch" in said for said in gang.reports[0]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lost.kill()
        errors = [failure(one) for one in ended]
    assert [error.reason for error in errors] == [PEER_LOST, PEER_LOST]
    assert all("node 1 of the gang is gone without a word" in error.message for error in errors)


def test_a_node_that_is_too_late_learns_that_nothing_is_to_be_done(cluster):
    gang = cluster(2)
    late = gang.start(1, gang.meet(1))

    def until_it_is_there(peers: Leader) -> None:
        while peers._absent():
            time.sleep(0.02)

    gang.start(0, until_it_is_there).result(SOON)
    with pytest.raises(Finished):
        late.result(SOON)


def test_strangers_at_the_port_do_no_harm(cluster):
    gang = cluster(2)
    leader = gang.start(0, gang.meet(0))
    deadline = time.monotonic() + SOON
    for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x05hello", b"\x00\x00\x00\x09half"):
        while True:
            with suppress(OSError):
                stranger = socket.create_connection(("127.0.0.1", gang.port))
                break
            assert time.monotonic() < deadline
        stranger.sendall(words)
        if words != b"\x00\x00\x00\x09half":
            stranger.close()
    assert gang.start(1, gang.meet(1)).result(SOON + 10).port == leader.result(SOON).port
    stranger.close()


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("", 0)) as owner, pytest.raises(SpecInvalidError) as caught:
        Leader(owner.getsockname()[1], nodes=2, gang=GANG, stop=StopSignal(), patience=1)
    assert caught.value.reason == "PortInUse"
