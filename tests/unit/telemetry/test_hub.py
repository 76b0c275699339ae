"""Sinks may fail, hang and lag; a run never notices."""

import threading
from collections.abc import Callable

from asrtune_trainer.telemetry.events import Event, Note, StageFinished, StageStarted, Work
from asrtune_trainer.telemetry.hub import Background, Hub
from tools.events import train_step


class Recorder:
    """Keeps what it hears; may be told what to do at each event and at the end."""

    def __init__(
        self,
        name: str = "recorder",
        accept: Callable[[], object] | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self.heard: list[Event] = []
        self.closed = 0
        self._accept = accept
        self._close = close

    def accept(self, event: Event) -> None:
        if self._accept:
            self._accept()
        self.heard.append(event)

    def close(self) -> None:
        self.closed += 1
        if self._close:
            self._close()


def fail() -> None:
    raise OSError("No space left on device")


def warnings(sink: Recorder) -> list[str]:
    return [event.message for event in sink.heard if isinstance(event, Note) and event.warning]


def test_every_sink_hears_every_event_in_order() -> None:
    first, second = Recorder(), Recorder()
    events = [StageStarted("a", "Prepare", 1, 1), train_step(), StageFinished("a", "Prepare", 1.0)]
    with Hub() as hub:
        hub.add(first)
        hub.add(second)
        for event in events:
            hub.emit(event)
    assert first.heard == second.heard == events
    assert (first.closed, second.closed) == (1, 1)


def test_a_failing_sink_is_switched_off_with_one_warning() -> None:
    broken, sound = Recorder("the event log", accept=fail), Recorder()
    with Hub() as hub:
        hub.add(broken)
        hub.add(sound)
        for step in range(5):
            hub.emit(train_step(step=step))
    assert warnings(sound) == ["the event log is switched off: No space left on device"]
    assert [event.step for event in sound.heard if not isinstance(event, Note)] == [0, 1, 2, 3, 4]
    assert broken.heard == []
    assert broken.closed == 1


def test_a_warning_names_the_running_stage() -> None:
    sound = Recorder()
    hub = Hub()
    hub.add(Recorder(accept=fail))
    hub.add(sound)
    hub.emit(train_step(stage="stage-1"))
    assert [event.stage for event in sound.heard] == ["stage-1", "stage-1"]


def test_when_every_sink_fails_the_run_goes_on() -> None:
    with Hub() as hub:
        for _ in range(3):
            hub.add(Recorder(accept=fail))
        hub.emit(train_step())
        hub.emit(train_step())
        assert hub.sinks == ()


def test_a_sink_that_fails_at_the_end_is_told_of_by_those_after_it() -> None:
    last = Recorder()
    with Hub() as hub:
        hub.add(Recorder("curves", close=fail))
        hub.add(last)
    assert warnings(last) == ["curves: No space left on device"]


def test_two_threads_that_meet_the_same_failure_give_one_warning() -> None:
    both = threading.Barrier(2)

    def fail_together() -> None:
        both.wait(10)
        fail()

    sound = Recorder()
    hub = Hub()
    hub.add(Recorder("log", accept=fail_together))
    hub.add(sound)
    threads = [threading.Thread(target=hub.emit, args=(train_step(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings(sound) == ["log is switched off: No space left on device"]


def test_close_brings_home_what_is_queued() -> None:
    slow = Recorder()
    with Hub() as hub:
        hub.add(Background(slow))
        for step in range(1000):
            hub.emit(train_step(step=step))
    assert len(slow.heard) == 1000
    assert slow.closed == 1


def test_a_failure_behind_a_queue_switches_the_sink_off() -> None:
    sound = Recorder()
    hub = Hub()
    background = Background(Recorder("log", accept=fail))
    hub.add(background)
    hub.add(sound)
    hub.emit(train_step())
    background._thread.join(10)
    hub.emit(train_step())
    hub.close()
    assert warnings(sound) == ["log is switched off: No space left on device"]


def test_a_failure_on_the_last_event_is_told_at_the_end() -> None:
    sound = Recorder()
    with Hub() as hub:
        hub.add(Background(Recorder("log", accept=fail)))
        hub.add(sound)
        hub.emit(train_step())
    assert len(warnings(sound)) == 1
    assert "No space left on device" in warnings(sound)[0]


def test_a_hanging_sink_loses_log_lines_alone_and_holds_nobody_up() -> None:
    let_go = threading.Event()
    hanging = Recorder("terminal", accept=lambda: let_go.wait(30))
    last = Recorder()
    with Hub() as hub:
        hub.add(Background(hanging, limit=10))
        hub.add(last)
        for step in range(100):
            hub.emit(train_step(step=step))
            hub.emit(Work("a", "decoded", step, 100))
        hub.emit(StageFinished("train", "Train", 1.0))
        let_go.set()
    # One more than the queue holds may be on its way.
    assert len(hanging.heard) in {11, 12}
    assert hanging.heard[-1] == StageFinished("train", "Train", 1.0)
    left_out = 200 - (len(hanging.heard) - 1)
    assert warnings(last) == [f"terminal: could not keep up; {left_out} log lines were left out"]


def test_a_sink_that_never_returns_does_not_hold_up_the_end() -> None:
    never = threading.Event()
    last = Recorder()
    with Hub() as hub:
        hub.add(Background(Recorder("terminal", accept=lambda: never.wait(60)), patience=0.05))
        hub.add(last)
        hub.emit(train_step())
    never.set()
    assert warnings(last) == ["terminal: still busy after 0.05 s; its last events are lost"]


def test_events_after_the_end_are_dropped() -> None:
    sink = Recorder()
    hub = Hub()
    hub.add(sink)
    hub.close()
    hub.close()
    hub.emit(train_step())
    assert sink.heard == []
    assert sink.closed == 1
