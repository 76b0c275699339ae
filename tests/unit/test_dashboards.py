"""The dashboards as files: what the code gives, complete, and each panel with words of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FILES: Final = sorted((ROOT / "charts/asrtune/dashboards").glob("*.json"))
BOARDS: Final[dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}
PANELS: Final = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
COLUMNS: Final = 24
BIGGEST: Final = 262_144
"""Bytes of a ConfigMap's annotation when somebody applies it on the client's side."""


def test_the_files_are_what_the_code_gives() -> None:
    command = [sys.executable, "-m", "dashboards", "--check"]
    done = subprocess.run(command, cwd=ROOT / "hack", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(BOARDS) == {"fleet", "run", "operator"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_means(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert len(panel["targets"]) == 1 or all(one.get("legendFormat") for one in panel["targets"])


@pytest.mark.parametrize("name", BOARDS)
def test_titles_and_places_are_unique(name: str) -> None:
    panels = BOARDS[name]["panels"]
    titles = [one["title"] for one in panels]
    assert len(titles) == len(set(titles))
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        left, top = at.get("x", 0), at.get("y", 0)
        assert left + at["w"] <= COLUMNS, panel["title"]
        for cell in ((x, y) for x in range(left, left + at["w"]) for y in range(top, top + at["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]


def test_every_link_leads_to_a_board_and_sets_its_variables() -> None:
    links = re.findall(r'"/d/([\w-]+)\?([^"]*)"', "".join(path.read_text("utf-8") for path in FILES))
    assert links
    boards = {board["uid"]: board for board in BOARDS.values()}
    for uid, query in links:
        variables = {one["name"] for one in boards[uid]["templating"]["list"]}
        assert {name.removeprefix("var-") for name in re.findall(r"var-\w+", query)} == variables - {
            "datasource"
        }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_board_fits_into_an_object(path: Path) -> None:
    assert path.stat().st_size < BIGGEST / 2
