import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api import errors
from asrtune_api.errors import AsrtuneError, DataInvalidError, ExitCode
from asrtune_api.scores import Score, read_scores, score_entries
from asrtune_api.status import StageState
from asrtune_api.termination import (
    LIMIT_BYTES,
    EndClass,
    SavedCheckpoint,
    TerminationMessage,
    metric_entries,
    metrics_of,
    state_entry,
    state_of,
)

TEXT = st.text(max_size=9000) | st.text(alphabet='\x00\ud800"\\話😀', max_size=5000)
Results = dict[str, str | float]
RESULTS = st.dictionaries(st.text(max_size=300), st.floats() | st.integers() | TEXT, max_size=60)


def every_error() -> list[type[AsrtuneError]]:
    return [AsrtuneError, *AsrtuneError.__subclasses__()]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_class_says_the_exit_code(kind: type[AsrtuneError]) -> None:
    message = TerminationMessage.from_error(kind("broken"))
    assert message.end_class.exit_code == kind.exit_code


def test_every_exit_code_has_a_class() -> None:
    assert {end.exit_code for end in EndClass} == set(ExitCode)
    assert errors.ExitCode is ExitCode


def test_message_carries_what_the_error_says() -> None:
    error = DataInvalidError(
        "12 of 20 lines.", where="train.jsonl", remedy="See rejects.", reason="TooManyRejects"
    )
    message = TerminationMessage.from_error(error, stage="prepare", step=3, results={"lines": 20})
    assert json.loads(message.encode()) == {
        "class": "DataInvalid",
        "reason": "TooManyRejects",
        "message": "train.jsonl: 12 of 20 lines.",
        "remedy": "See rejects.",
        "stage": "prepare",
        "step": 3,
        "results": {"lines": 20},
    }


def test_step_zero_is_told() -> None:
    assert json.loads(TerminationMessage(end_class=EndClass.DIVERGED, step=0).encode())["step"] == 0


@given(TEXT, TEXT, TEXT, RESULTS)
def test_any_message_fits_and_reads_back(
    where: str, message: str, remedy: str, results: dict[str, str | float]
) -> None:
    error = AsrtuneError(message, where=where, remedy=remedy)
    data = TerminationMessage.from_error(error, stage="train", step=10**9, results=results).encode()
    assert len(data) <= LIMIT_BYTES
    back = TerminationMessage.decode(data)
    assert back is not None
    assert (back.end_class, back.reason, back.stage, back.step) == (
        "Internal",
        "InternalError",
        "train",
        10**9,
    )


@given(RESULTS)
def test_results_are_dropped_from_the_end(results: dict[str, str | float]) -> None:
    message = TerminationMessage.done(results=results)
    kept = list(json.loads(message.encode()).get("results", {}))
    assert kept == list(message.results)[: len(kept)]


def test_long_text_is_cut_before_results_are_lost() -> None:
    results = {f"cer/{n}": 12.34 for n in range(50)}
    data = TerminationMessage.from_error(AsrtuneError("x" * 10_000), results=results).encode()
    assert json.loads(data)["results"] == results
    assert json.loads(data)["message"].endswith("x…")


def test_numbers_that_json_lacks_are_left_out() -> None:
    message = TerminationMessage.done(results={"cer": float("nan"), "loss": float("inf"), "wer": 1.5})
    assert json.loads(message.encode())["results"] == {"wer": 1.5}


@pytest.mark.parametrize("data", [b"", b"Killed", b"{}", b'{"class": "Unheard"}', b"\xff\xfe", b"[1]"])
def test_what_is_no_message_is_none(data: bytes) -> None:
    assert TerminationMessage.decode(data) is None


def test_message_of_a_newer_trainer_is_read() -> None:
    message = TerminationMessage.decode(b'{"class": "Done", "novelty": 1}')
    assert message is not None
    assert message.end_class is EndClass.DONE


@pytest.mark.parametrize("time", [None, 1700000000.25])
def test_the_last_checkpoint_is_told(time: float | None) -> None:
    saved = SavedCheckpoint(step=500, time=time)
    message = TerminationMessage.from_error(AsrtuneError("killed"), step=520, checkpoint=saved)
    assert TerminationMessage.decode(message.encode()) == message
    assert "time" in message.encode().decode() or time is None


def test_states_and_metrics_of_stages_read_back() -> None:
    results = {
        **state_entry("train", StageState.SUCCEEDED),
        **state_entry("prepare", StageState.SKIPPED),
        **metric_entries("train", {"cer": 12.3456789, "steps": 400.0}, 61.5),
        **metric_entries("train-2", {"cer": 1.0}, 2.0),
    }
    back = TerminationMessage.decode(TerminationMessage.done(results=results).encode())
    assert back is not None
    assert state_of(back.results, "train") is StageState.SUCCEEDED
    assert state_of(back.results, "prepare") is StageState.SKIPPED
    assert state_of(back.results, "average") is None
    assert metrics_of(back.results, "train") == {"seconds": 61.5, "cer": 12.3457, "steps": 400.0}
    assert back.results["train/steps"] == 400


def test_metrics_go_before_scores_do() -> None:
    rows = [
        Score(set=f"set-{n}", model="finetuned", cer="8.25", low="7.5", high="9", utterances=400)
        for n in range(20)
    ]
    metrics = metric_entries("train", {f"metric{n}": n / 7 for n in range(500)}, 1.0)
    back = TerminationMessage.decode(TerminationMessage.done(results=score_entries(rows) | metrics).encode())
    assert back is not None
    assert read_scores(back.results) == rows
    assert 0 < len(metrics_of(back.results, "train")) < 500


def test_a_state_of_a_newer_trainer_is_unknown() -> None:
    assert state_of({"train/state": "Vanished"}, "train") is None
