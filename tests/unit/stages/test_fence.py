"""One writer an output: the last attempt of the run that owns it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.errors import AsrtuneError, ExitCode
from asrtune_trainer.stages.fence import FENCE, Attempt, Fence
from asrtune_trainer.storage import Stores


def attempt(number: int, *, stage: str = "train", uid: str = "one", run: str = "speech/line") -> Attempt:
    return Attempt(run=run, uid=uid, stage=stage, number=number)


@pytest.fixture
def fence(tmp_path):
    def of(me):
        return Fence(Stores(), str(tmp_path), me)

    return of


def refused(action, reason):
    with pytest.raises(AsrtuneError) as caught:
        action()
    assert caught.value.reason == reason
    return caught.value


def test_a_later_attempt_ends_an_earlier_one(fence):
    first, second = fence(attempt(1)), fence(attempt(2))
    first.enter()
    first.check()
    second.enter()
    error = refused(first.check, "Superseded")
    assert error.exit_code == ExitCode.INTERRUPTED
    assert "attempt 2 at stage train of run speech/line" in error.message
    second.check()
    refused(first.enter, "Superseded")
    second.check()


def test_what_is_wrong_with_its_file_is_told_of_the_output(tmp_path):
    file = tmp_path / "runs"
    file.write_text("")
    with pytest.raises(AsrtuneError) as caught:
        Fence(Stores(), str(file), attempt(1)).enter()
    assert caught.value.where == f"spec.output.uri {file}"


def test_the_same_attempt_may_begin_again(fence):
    fence(attempt(1)).enter()
    again = fence(attempt(1))
    again.enter()
    again.check()


def test_stages_count_apart_and_a_later_stage_takes_over(fence):
    train = fence(attempt(3))
    train.enter()
    evaluate = fence(attempt(1, stage="evaluate"))
    evaluate.enter()
    evaluate.check()
    refused(train.check, "Superseded")
    refused(fence(attempt(2)).enter, "Superseded")
    rerun = fence(attempt(2, stage="prepare"))
    rerun.enter()
    refused(evaluate.check, "Superseded")


def test_another_run_is_kept_out_until_the_first_has_ended(fence):
    first, other = fence(attempt(1)), fence(attempt(1, uid="two", run="speech/other"))
    first.enter()
    error = refused(other.enter, "OutputInUse")
    assert error.exit_code == ExitCode.SPEC_INVALID
    assert "speech/line" in error.message
    assert FENCE in error.remedy
    first.release()
    other.enter()
    other.check()
    refused(first.check, "OutputInUse")


def test_a_run_made_again_takes_over_and_its_former_self_is_kept_out(fence):
    former, again = fence(attempt(4)), fence(attempt(1, uid="two"))
    former.enter()
    again.enter()
    refused(former.check, "Superseded")
    refused(fence(attempt(5)).enter, "OutputInUse")
    again.check()
    third = fence(attempt(1, uid="three"))
    third.enter()
    refused(fence(attempt(2, uid="two")).enter, "OutputInUse")
    refused(fence(attempt(6)).enter, "OutputInUse")


def test_release_is_for_the_holder_alone(fence, tmp_path):
    first, second = fence(attempt(1)), fence(attempt(2))
    first.enter()
    second.enter()
    first.release()
    assert json.loads((tmp_path / FENCE).read_text())["held"]
    second.release()
    assert not json.loads((tmp_path / FENCE).read_text())["held"]


def test_a_laptop_leaves_no_fence_and_keeps_away_from_one(fence, tmp_path):
    laptop = fence(None)
    laptop.enter()
    laptop.check()
    assert not (tmp_path / FENCE).exists()
    cluster = fence(attempt(1))
    cluster.enter()
    refused(laptop.enter, "OutputInUse")
    cluster.release()
    laptop.enter()
    laptop.release()
    assert json.loads((tmp_path / FENCE).read_text())["holder"]["uid"] == "one"


def test_a_fence_that_nobody_understands_stops_nobody(fence, tmp_path):
    (tmp_path / FENCE).write_text("{")
    mine = fence(attempt(1))
    mine.enter()
    mine.check()


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["enter", "check"])), max_size=30))
def test_whoever_may_write_is_the_highest_that_has_begun(tmp_path_factory, moves):
    fences = {
        number: Fence(Stores(), str(tmp_path_factory.getbasetemp() / "fence"), attempt(number))
        for number in range(1, 5)
    }
    (tmp_path_factory.getbasetemp() / "fence" / FENCE).unlink(missing_ok=True)
    highest = 0
    for number, move in moves:
        if move == "check" and highest == 0:
            continue  # nobody writes before it has entered
        if number < highest:
            refused(getattr(fences[number], move), "Superseded")
        else:
            getattr(fences[number], move)()
            highest = number
