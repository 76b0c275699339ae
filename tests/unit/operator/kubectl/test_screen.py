"""What `kubectl asrtune status` and `why` show: golden files."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType
from syrupy.assertion import SnapshotAssertion

from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.overview import overview
from asrtune_operator.kubectl.reasons import Answer, why_of
from asrtune_operator.kubectl.runs import RunView, ref_of
from asrtune_operator.kubectl.screen import screen
from asrtune_operator.kubectl.summary import summary
from tools.statuses import FAILED, PENDING, RESULTS, RUNNING, STATUSES, SUCCEEDED, SUSPENDED, run

NOW = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)


def text(shown: RenderableType, width: int = 120) -> str:
    console = Console(width=width, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def event(reason: str, message: str, minute: int, kind: str = "ASRFinetune", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"kind": kind, "name": "calls-train-2-0"},
        "lastTimestamp": f"2026-01-01T00:{minute:02d}:00Z",
        **more,
    }


def pod(name: str, **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:41:00Z"}
    return {"metadata": metadata, "spec": {"nodeName": "gpu-a"}, "status": status}


@pytest.mark.parametrize("name", STATUSES)
def test_screen(name: str, snapshot: SnapshotAssertion) -> None:
    assert text(screen(RunView(run(STATUSES[name])), NOW)) == snapshot


def test_screen_of_an_evaluation(snapshot: SnapshotAssertion) -> None:
    status = {key: value for key, value in SUCCEEDED.items() if key not in {"bestCer", "stages"}}
    raw = run(status | {"best": {"model": "finetuned", "percent": "8.1"}}, name="weekly")
    raw["kind"] = "ASREvaluation"
    assert text(screen(RunView(raw), NOW)) == snapshot


def test_what_an_evaluation_has_none_of_is_not_told_as_0() -> None:
    metrics = {"utterances": "97", "trainHours": "0", "rejected": "0"}
    prepare = {"name": "prepare", "type": "Prepare", "state": "Succeeded", "metrics": metrics}
    shown = text(screen(RunView(run(SUCCEEDED | {"stages": [prepare]})), NOW))
    assert "97 utterances, 0 rejected" in shown


@pytest.mark.parametrize("name", STATUSES)
def test_summary(name: str, snapshot: SnapshotAssertion) -> None:
    assert summary(RunView(run(STATUSES[name]))) == snapshot


def test_a_message_has_no_power_over_the_page_of_a_summary() -> None:
    status = copy.deepcopy(FAILED)
    status["conditions"][1]["message"] = "a|b\n# <img src=x> [c](d) `e`"
    said = summary(RunView(run(status)))
    assert r"a\|b # \<img src=x\> \[c\](d) \`e\`" in said


def test_a_narrow_terminal_loses_no_word() -> None:
    wide, narrow = (text(screen(RunView(run(PENDING)), NOW), width) for width in (200, 60))
    assert set("".join(wide.split())) == set("".join(narrow.split()))
    assert all(len(line) <= 60 for line in narrow.splitlines())
    assert "1of4nodeshasthem(gpu-ahas8,gpu-b6,gpu-c0)" in "".join(narrow.split())


def test_overview(snapshot: SnapshotAssertion) -> None:
    assert text(overview([RunView(run(one, name=name)) for name, one in STATUSES.items()], NOW)) == snapshot


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"generation": 2}, "The spec was changed; the operator has not acted on it yet."),
        ({"deletionTimestamp": "2026-01-01T00:59:00Z"}, "It is being deleted."),
    ],
)
def test_what_the_operator_has_not_acted_on(change: dict[str, Any], words: str) -> None:
    raw = run(RUNNING)
    raw["metadata"] |= change
    assert words in text(screen(RunView(raw), NOW), 200)


def test_a_suspension_under_way() -> None:
    assert "its pods save a checkpoint and end" in text(screen(RunView(run(RUNNING, suspend=True)), NOW), 200)


def test_a_run_that_nobody_serves() -> None:
    soon = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
    assert "The operator has not looked at it yet." in text(screen(RunView(run({})), soon))
    assert "is asrtune-operator running" in text(screen(RunView(run({})), NOW), 200)


def test_markup_in_messages_is_text() -> None:
    status = copy.deepcopy(RUNNING)
    status["conditions"][1]["message"] = "[red]no[/] [bold"
    assert "[red]no[/] [bold" in text(screen(RunView(run(status)), NOW))


def test_a_status_of_a_newer_operator() -> None:
    with pytest.raises(PluginError, match=r"status\.mood"):
        screen(RunView(run(RUNNING | {"mood": "good"})), NOW)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ({}, Answer.WAITS),
        (PENDING, Answer.WAITS),
        (PENDING | {"phase": "Queued"}, Answer.WAITS),
        (SUSPENDED, Answer.WAITS),
        (RUNNING, Answer.FINE),
        (SUCCEEDED, Answer.FINE),
        (FAILED, Answer.FAILED),
    ],
)
def test_the_answer_of_why(status: dict[str, Any], answer: Answer) -> None:
    assert why_of(RunView(run(status)), [], [], NOW).answer is answer


def test_why_tells_pods_and_the_last_events(snapshot: SnapshotAssertion) -> None:
    pulled = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "no/such:1"'}}
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/4 nodes are available",
    }
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    pods = [
        pod("calls-train-2-0", phase="Pending", containerStatuses=[{"name": "pytorch", "state": pulled}]),
        pod("calls-train-2-1", phase="Pending", conditions=[unscheduled]),
        pod("calls-train-2-2", phase="Failed", containerStatuses=[{"name": "pytorch", "state": killed}]),
        pod("calls-train-2-3", phase="Running"),
    ]
    events = [event(f"Reason{minute}", f"message {minute}", minute) for minute in (9, 3, 5, 7, 1, 2)]
    events.append(event("FailedScheduling", "0/4 nodes", 0, "Pod", lastTimestamp=None) | {"eventTime": None})
    events.append(
        event("Pulling", "pulls", 0, "Pod", series={"lastObservedTime": "2026-01-01T00:59:00.000000Z"})
    )
    said = why_of(RunView(run(PENDING)), pods, events, NOW)
    assert said.document() == snapshot


def test_why_does_not_say_the_same_twice() -> None:
    (failed,) = (one for one in FAILED["conditions"] if one["type"] == "Failed")
    again = f"train, attempt 2: {failed['message']}"
    events = [
        event("Failed", failed["message"], 1),
        event("AttemptOutOfMemory", again, 1),
        event("FailedScheduling", "0/4 nodes", 2, "Pod"),
    ]
    said = why_of(RunView(run(FAILED)), [], events, NOW)
    assert failed["message"] in said.text
    assert [line for line in said.events if "0/4 nodes" in line] == list(said.events)


def test_what_a_gang_says_alike_is_told_once() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes"}
    pods = [pod(f"calls-train-2-{rank}", phase="Pending", conditions=[scheduled]) for rank in range(10)]
    events = [event("FailedScheduling", "0/4 nodes", minute, "Pod") for minute in range(10)]
    said = why_of(RunView(run(PENDING)), pods, events, NOW)
    assert len(said.events) == 1
    assert said.events[0].startswith("51m ago")
    assert len(said.pods) == 1
    assert said.pods[0].endswith("calls-train-2-7 on gpu-a ...: Pending. Unschedulable: 0/4 nodes")


def test_a_wrong_manifest_is_corrected_or_what_it_names_is() -> None:
    status = copy.deepcopy(FAILED)
    status["conditions"][1] |= {"reason": "SpecInvalid", "message": "It is wrong."}
    shown = " ".join(text(screen(RunView(run(status)), NOW), 200).split())
    assert "It is wrong. It starts again when a corrected manifest is applied; if it is not" in shown
    assert "`kubectl asrtune retry calls -n speech` tries again" in shown


def test_results_of_the_fixtures_are_of_the_api() -> None:
    view = RunView(run(SUCCEEDED))
    assert len(view.status.results) == len(RESULTS)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written", "kind", "name"),
    [
        ("calls", "ASRFinetune", "calls"),
        ("finetune/calls", "ASRFinetune", "calls"),
        ("asrft/calls", "ASRFinetune", "calls"),
        ("asrfinetunes.asrtune.dev/calls", "ASRFinetune", "calls"),
        ("evaluation/calls", "ASREvaluation", "calls"),
        ("ASREvaluation/calls", "ASREvaluation", "calls"),
    ],
)
def test_names(written: str, kind: str, name: str) -> None:
    ref = ref_of(written)
    assert (ref.resource.kind, ref.name) == (kind, name)


@pytest.mark.parametrize("written", ["pod/calls", "evaluation/", ""])
def test_names_of_nothing(written: str) -> None:
    with pytest.raises(PluginError, match="names no run"):
        ref_of(written)
