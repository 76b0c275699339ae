"""What only local disks do: permissions, full disks, file modes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from asrtune_api.errors import AsrtuneError, StorageUnavailableError
from asrtune_trainer.storage import join_uri, open_storage

NOBODY = 65534
WRITE = """
import sys
from asrtune_api.errors import AsrtuneError
from asrtune_trainer.storage import join_uri, open_storage
target, size = sys.argv[1], int(sys.argv[2])
try:
    open_storage(target).write_bytes(join_uri(target, "file"), bytes(size))
except AsrtuneError as error:
    sys.exit(f"{error.reason}: {error}")
"""


def test_read_only_directory_is_told(tmp_path: Path) -> None:
    target = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))  # tmp_path is closed to other users
    target.chmod(0o555)
    reader, writer = os.pipe()
    child = os.fork()  # root may write anywhere: the child gives its rights up
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(NOBODY)
            open_storage(str(target)).write_bytes(join_uri(str(target), "file"), b"x")
        except StorageUnavailableError as error:
            os.write(writer, f"{error.reason}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        assert said.read().startswith(f"AccessDenied: {target}")
    assert list(target.iterdir()) == []
    target.rmdir()


def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """On a real full disk: a file system of 1 MiB in a mount name space of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    in_namespace = ["unshare", "--map-root-user", "--mount", "sh", "-euc"]
    if not shutil.which("unshare") or subprocess.run([*in_namespace, "true"], check=False).returncode:
        pytest.skip("no user name spaces on this machine")
    script = 'mount -t tmpfs -o size=1m none "$0"; "$@" || true; ls -A "$0"'
    full, enough = (
        subprocess.run(
            [*in_namespace, script, str(disk), sys.executable, "-c", WRITE, str(disk), str(size)],
            capture_output=True,
            text=True,
            check=True,
        )
        for size in (2 << 20, 1 << 10)
    )
    assert full.stderr.startswith("DiskFull: ")
    assert "the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert full.stdout == ""
    assert (enough.stderr, enough.stdout) == ("", "file\n")


def test_directory_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "directory" / "below").mkdir(parents=True)
    (tmp_path / "file").touch()
    storage = open_storage(str(tmp_path))
    for uri in (tmp_path / "directory", tmp_path / "file" / "below"):
        with pytest.raises(AsrtuneError) as caught:
            storage.write_bytes(str(uri), b"x")
        assert caught.value.reason == "PathInvalid"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


def test_files_get_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    open_storage(str(tmp_path)).write_bytes(str(tmp_path / "ours"), b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_unfinished_work_is_not_listed_and_is_cleared(tmp_path: Path) -> None:
    directory, target = tmp_path / "model", tmp_path / "out" / "model"
    directory.mkdir()
    (directory / "manifest.json").touch()
    for name in (".model.0123abcd.partial", ".model.x.0123abcd.partial"):
        (target.parent / name).mkdir(parents=True)
        (target.parent / name / "half").touch()
    (target.parent / ".0123456789abcdef.partial").touch()
    storage = open_storage(str(target))
    assert list(storage.entries(str(target.parent))) == []
    storage.publish(directory, str(target))
    assert [entry.name for entry in storage.entries(str(target.parent))] == ["model/manifest.json"]
    # what another writer, of model.x, may still be at is left alone
    assert sorted(path.name for path in target.parent.iterdir()) == [
        ".0123456789abcdef.partial",
        ".model.x.0123abcd.partial",
        "model",
    ]


@pytest.mark.parametrize("target", ["model", "model/inside", "."])
def test_publishing_into_itself_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("kept")
    with pytest.raises(AsrtuneError, match="into itself"):
        open_storage(".").publish(tmp_path / "model", str(tmp_path / target))
    assert (tmp_path / "model" / "manifest.json").read_text() == "kept"


def test_a_whole_disk_is_never_deleted() -> None:
    with pytest.raises(AsrtuneError, match="whole disk"):
        open_storage("/").delete("/")
