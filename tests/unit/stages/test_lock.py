"""Two processes on one machine, or on one shared disk, and one output."""

import pytest

from asrtune_api.errors import AsrtuneError, InterruptedRunError, SpecInvalidError
from asrtune_trainer.stages.fence import Attempt
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.storage import Stores


def workspace(tmp_path, run: str, number: int = 1) -> Workspace:
    me = Attempt(run=f"speech/{run}", uid=run, stage="train", number=number)
    return Workspace.open(str(tmp_path), tmp_path, Stores(), me=me)


def entered(place: Workspace, patience: float) -> None:
    with place.locked(StopSignal(), patience=patience):
        place.fence.enter()


def test_another_run_is_not_waited_for(tmp_path):
    one, other = workspace(tmp_path, "one"), workspace(tmp_path, "other")
    with one.locked(StopSignal(), patience=60):
        one.fence.enter()
        with pytest.raises(SpecInvalidError, match="speech/one") as raised:
            entered(other, patience=3600)
    assert raised.value.reason == "OutputInUse"


def test_an_earlier_attempt_of_the_same_run_is(tmp_path):
    with (
        workspace(tmp_path, "one").locked(StopSignal(), patience=60),
        pytest.raises(InterruptedRunError) as raised,
    ):
        entered(workspace(tmp_path, "one", 2), patience=0.1)
    assert raised.value.reason == "OutputBusy"


def test_a_later_attempt_is_not(tmp_path):
    first, second = workspace(tmp_path, "one"), workspace(tmp_path, "one", 2)
    with second.locked(StopSignal(), patience=60):
        second.fence.enter()
        with pytest.raises(AsrtuneError) as raised:
            entered(first, patience=3600)
    assert raised.value.reason == "Superseded"
