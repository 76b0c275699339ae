"""The code blocks of our documents, and what tests have to do with them: a comment above each block says it.

<!-- run: laptop -->            commands that a test runs: laptop, python, convert, demo, cluster, gate
<!-- run: cluster may fail: why -->    the same, and their exit code says something else
<!-- file: finetune.yaml -->    the file that the commands after it read
<!-- not run: why -->           nobody runs it
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START = (
    "README.md",
    *("docs/start-laptop.md", "docs/start-cluster.md", "docs/data.md"),
    "examples/ci/README.md",
)
"""Pages whose every command is run."""
COMMANDS = ("", "sh", "bash", "console", "python")
"""Languages of blocks that are commands; others are data."""
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>(?:run|file|not run): .+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: path of its page.
        line: of its first line.
        verb: run, file, not run; empty where nothing is said.
        about: what stands behind the verb.
        language: as the page says it.
        text: its lines.
    """

    page: str
    line: int
    verb: str
    about: str
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def may_fail(self) -> bool:
        return " may fail: " in self.about


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    text = (ROOT / page).read_text()
    found = []
    for match in _BLOCK.finditer(text):
        verb, _, about = (match["mark"] or "").partition(": ")
        line = text.count("\n", 0, match.start("language")) + 2
        found.append(Block(page, line, verb, about, match["language"], match["text"]))
    return found


def told(page: str, about: str) -> list[Block]:
    """The blocks of a page that tests of one sort run."""
    return [one for one in blocks(page) if one.verb == "run" and one.about.split()[0] == about]


def file_of(page: str, name: str) -> str:
    """The file that a page shows.

    Raises:
        ValueError: it shows none, or two.
    """
    [text] = [one.text for one in blocks(page) if (one.verb, one.about) == ("file", name)]
    return text


def perform(block: Block, directory: Path, environment: Mapping[str, str], timeout: float = 300) -> str:
    """Run a block's commands as somebody who pastes them one after the other, and return what they print.

    Raises:
        AssertionError: one fails; with what it said.
    """
    shell = ["bash", "-eo", "pipefail", "-c", block.text]
    done = subprocess.run(
        shell,
        cwd=directory,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0 or block.may_fail, f"{block.place}: {done.stdout}{done.stderr}"
    return done.stdout
