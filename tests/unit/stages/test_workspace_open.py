"""Output URIs at which no run can have its files."""

import errno
from pathlib import Path

import pytest

from asrtune_api.errors import AsrtuneError, ExitCode, SpecInvalidError
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.storage import Stores


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl/runs", "train.jsonl/runs/one"])
def test_an_output_on_or_below_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "train.jsonl").write_text("a list")
    with pytest.raises(SpecInvalidError) as told:
        Workspace.open(str(tmp_path / name), tmp_path / "copies", Stores())
    assert told.value.reason == "PathInvalid"
    assert str(told.value) == (
        f"spec.output.uri: {tmp_path}/train.jsonl is a file, not a directory. Name another directory."
    )
    assert (tmp_path / "train.jsonl").read_text() == "a list"


def test_an_output_behind_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("gone")
    with pytest.raises(SpecInvalidError, match=r"runs is a link to gone, which is not there") as told:
        Workspace.open(str(tmp_path / "runs/one"), tmp_path / "copies", Stores())
    assert told.value.reason == "PathInvalid"


def test_a_file_where_the_local_copies_belong(tmp_path: Path) -> None:
    (tmp_path / "copies").write_text("")
    with pytest.raises(SpecInvalidError, match=r"^--workdir: .*/copies is a file") as told:
        Workspace.open("s3://bucket/run", tmp_path / "copies", Stores())
    assert told.value.reason == "PathInvalid"


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        (errno.EACCES, ExitCode.STORAGE_UNAVAILABLE, "AccessDenied"),
        (errno.ENOENT, ExitCode.SPEC_INVALID, "PathInvalid"),
    ],
)
def test_an_output_that_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: ExitCode, reason: str
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise OSError(number, "refused", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(AsrtuneError) as told:
        Workspace.open(str(tmp_path / "out"), tmp_path / "copies", Stores())
    assert (told.value.exit_code, told.value.reason) == (code, reason)
    assert str(tmp_path / "out") in str(told.value)
