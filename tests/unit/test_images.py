"""What can be said of images/ without building them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILES = sorted(ROOT.glob("images/*/Containerfile"))


def instructions(path: Path, name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", path.read_text(), re.MULTILINE)


def test_there_are_two() -> None:
    assert [path.parent.name for path in CONTAINERFILES] == ["operator", "trainer"]


def test_the_builds_uv_is_the_checkouts() -> None:
    tools = (ROOT / "images/tools.txt").read_text()
    pinned = re.search(r"^uv==(\S+)", tools, re.MULTILINE)
    assert pinned is not None
    assert f"UV_VERSION={pinned[1]}\n" in (ROOT / "hack/versions.env").read_text()


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_base_is_an_argument_of_every_stage(path: Path) -> None:
    assert instructions(path, "ARG")[0].startswith("BASE=")
    stages = {line.split(" AS ")[0] for line in instructions(path, "FROM")}
    assert stages <= {"${BASE}", "tools", "dependencies"}


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_last_user_is_a_number(path: Path) -> None:
    assert instructions(path, "USER") == ["65532:65532"]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_both_begin_with_the_same_tools(path: Path) -> None:
    def first_stage(one: Path) -> str:
        return one.read_text().split(" AS tools\n")[1].split("\nFROM ")[0]

    assert first_stage(path) == first_stage(CONTAINERFILES[0])


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_what_is_copied_is_in_the_context(path: Path) -> None:
    allowed = {
        line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = [line.split()[0] for line in instructions(path, "COPY") if not line.startswith("--from")]
    assert copied
    for source in copied:
        assert source == "." or any(source == one or source.startswith(f"{one}/") for one in allowed), source
