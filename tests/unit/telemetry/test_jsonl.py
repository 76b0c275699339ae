"""The event log is readable whatever happened to the process that wrote it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_trainer.telemetry import jsonl
from asrtune_trainer.telemetry.events import Event, Note
from asrtune_trainer.telemetry.jsonl import JsonLines, mend, read_log
from asrtune_trainer.telemetry.wire import to_json
from tools.events import anything, train_step

WRITER = """
import sys
from pathlib import Path
from asrtune_trainer.telemetry.events import Note
from asrtune_trainer.telemetry.jsonl import JsonLines

log = JsonLines(Path(sys.argv[1]))
number = 0
while True:
    log.accept(Note("train", str(number) + "x" * 200))
    number += 1
    if number == 1000:
        print("on its way", flush=True)
"""


def write(path: Path, *events: Event, at: float = 1.0) -> None:
    log = JsonLines(path, clock=lambda: at)
    for event in events:
        log.accept(event)
    log.close()


@given(st.lists(anything, max_size=5))
def test_what_is_logged_can_be_read(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write(path, *events, at=12.3456)
    read = list(read_log(path))
    assert [at for at, _ in read] == [12.346] * len(events)
    assert [to_json(event) for _, event in read] == [to_json(event) for event in events]


def test_an_event_is_on_disk_when_accept_returns(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "run" / "log.jsonl", clock=lambda: 3.0)
    log.accept(Note("a", "b"))
    line = (tmp_path / "run" / "log.jsonl").read_text()
    assert json.loads(line) == {"time": 3.0, "event": "Note", "stage": "a", "message": "b", "warning": False}


def test_a_later_run_appends(tmp_path: Path) -> None:
    write(tmp_path / "log.jsonl", Note("a", "1"))
    write(tmp_path / "log.jsonl", Note("a", "2"))
    assert [event for _, event in read_log(tmp_path / "log.jsonl")] == [Note("a", "1"), Note("a", "2")]


@given(cut=st.integers(1, 60))
def test_a_cut_line_is_passed_over_and_then_mended(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write(path, Note("a", "1"), Note("a", "2" * 60))
    os.truncate(path, path.stat().st_size - cut)
    assert [event for _, event in read_log(path)] in ([Note("a", "1")], [Note("a", "1"), Note("a", "2" * 60)])
    write(path, Note("a", "3"))
    assert [event for _, event in read_log(path)] == [Note("a", "1"), Note("a", "3")]


@given(
    whole=st.integers(0, 5),
    tail=st.binary(max_size=40).filter(lambda one: b"\n" not in one),
    block=st.integers(1, 30),
)
def test_mending_keeps_exactly_the_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, whole: int, tail: bytes, block: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"0123456789\n" * whole + tail)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "_BLOCK", block)
        mend(path)
    assert path.read_bytes() == b"0123456789\n" * whole


def test_a_line_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"time": 1, "event": "Later"}\n{"event": "Note", "stage": "a", "message": "b"}\n[]\n')
    write(path, Note("a", "known"))
    assert [event for _, event in read_log(path)] == [Note("a", "known")]


def test_kill_leaves_a_readable_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"on its way\n"
        writer.send_signal(signal.SIGKILL)
    read = [event.message for _, event in read_log(path) if isinstance(event, Note)]
    assert len(read) >= 1000
    assert read == [str(number) + "x" * 200 for number in range(len(read))]
    write(path, train_step())
    assert [event for _, event in read_log(path)][-1] == train_step()
    assert len(list(read_log(path))) == len(read) + 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    log = JsonLines(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        log.accept(Note("a", "b"))
