"""What a command says last."""

import pytest

from asrtune_api.errors import AsrtuneError, StorageUnavailableError
from asrtune_trainer.cli.failing import guarded
from asrtune_trainer.cli.walking import _keep_logs


class NoRoom:
    """A workspace whose output has no room for logs."""

    root = "/[copies]/" + "long/" * 40

    def keep(self, *_: str) -> None:
        raise StorageUnavailableError(
            "the disk is full.", where="s3://bucket/log.jsonl", remedy="Free space."
        )


def fail() -> None:
    with guarded(None) as termination:
        _keep_logs(NoRoom(), "log.jsonl", termination)  # type: ignore[arg-type]
        raise AsrtuneError("it broke.")


def test_logs_that_stay_behind_are_told_of_after_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fail()
    first, *_, last = capfd.readouterr().err.splitlines()
    assert first == "error: it broke."
    assert last == f"The logs stay in {NoRoom.root}: the disk is full."


def test_a_run_that_went_well_tells_of_them_too(capfd: pytest.CaptureFixture[str]) -> None:
    with guarded(None) as termination:
        _keep_logs(NoRoom(), "log.jsonl", termination)  # type: ignore[arg-type]
    assert capfd.readouterr().err.startswith("The logs stay in /[copies]/")
