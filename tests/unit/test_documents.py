"""Every command of the start pages is run by a test, or says why not; the ones that need nothing are run here."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import pytest

from tools.documents import COMMANDS, ROOT, START, Block, blocks, perform, told

RUNNERS = {"laptop", "python", "convert", "demo", "cluster", "gate"}
"""tests/trainer/run/test_documents.py, tests/operator/test_documents.py and test_ci_gate.py, and this file."""
LEAST_REASON = 15
EVERY = [one for page in START for one in blocks(page)]


@pytest.mark.parametrize("block", EVERY, ids=lambda block: block.place)
def test_every_command_is_run_or_says_why_not(block: Block) -> None:
    if block.language in COMMANDS:
        assert block.verb in {"run", "not run"}, f"{block.place}: put <!-- run: ... --> above it"
    if block.verb == "run":
        assert block.about.split()[0] in RUNNERS, block.place
    if block.verb == "not run":
        assert len(block.about) > LEAST_REASON, f"{block.place}: say why"


def test_blocks_are_found() -> None:
    pages = {one.page for one in EVERY if one.verb == "run"}
    assert pages == set(START)


ITEM = re.compile(r"(- |\d+\. |\|)")
CONTINUES = re.compile(r"\s*(- |\d+\. |\||#)|\s{2,}|$")


@pytest.mark.parametrize("page", sorted(str(one.relative_to(ROOT)) for one in (ROOT / "docs").rglob("*.md")))
def test_lists_and_tables_stand_after_an_empty_line(page: str) -> None:
    """The site's Markdown takes them for the paragraph's text otherwise; GitHub's does not."""
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    pairs = itertools.pairwise(text.splitlines())
    assert [line for before, line in pairs if ITEM.match(line) and not CONTINUES.match(before)] == []


TESTS = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?|`(test_\w+)`")


def test_security_claims_name_tests_that_exist() -> None:
    """What a page says a test shows: the file is there, and so is the test."""
    text = (ROOT / "docs/security.md").read_text()
    named = list(TESTS.finditer(text))
    assert len(named) > 10
    files = {Path(one[1]) for one in named if one[1]}
    assert [str(one) for one in files if not (ROOT / one).is_file()] == []
    sources = "".join((ROOT / one).read_text() for one in files)
    functions = {one[2] or one[3] for one in named if one[2] or one[3]}
    assert [one for one in functions if f"def {one}(" not in sources] == []


REASON = re.compile(r'reason="([A-Z]\w+)"')
ENDED = {"Complete"}


def test_the_reasons_that_end_a_run_are_explained() -> None:
    """What a termination message or a condition calls it stands on the page that people look it up in."""
    explained = (ROOT / "docs/troubleshooting.md").read_text()
    sources = [one for part in ("crds/asrtune_api", "trainer") for one in (ROOT / part).rglob("*.py")]
    reasons = {one for source in sources for one in REASON.findall(source.read_text())}
    assert len(reasons) > 40
    assert (
        sorted(one for one in reasons if one not in ENDED and not re.search(rf"\b{one}\b", explained)) == []
    )


def test_conversions_give_lists(tmp_path: Path) -> None:
    csv, kaldi, split = told("docs/data.md", "convert")
    excel = b"\xef\xbb\xbf" + 'source,target,speaker_id\r\na.wav,"你好, 世界",anna\r\n'.encode()
    (tmp_path / "data.csv").write_bytes(excel)
    perform(csv, tmp_path, os.environ)
    [line] = (tmp_path / "data.jsonl").read_text().splitlines()
    assert json.loads(line) == {"source": "a.wav", "target": "你好, 世界", "speaker_id": "anna"}
    (tmp_path / "wav.scp").write_text("b /data/b.wav\na\t/data/a.wav\nc /data/c 1.wav\n\nd /data/d.wav\n")
    (tmp_path / "text").write_text("a\thold the line\nb please\nd\n")
    perform(kaldi, tmp_path, os.environ)
    rows = [json.loads(one) for one in (tmp_path / "data.jsonl").read_text().splitlines()]
    assert rows == [
        {"key": "b", "source": "/data/b.wav", "target": "please"},
        {"key": "a", "source": "/data/a.wav", "target": "hold the line"},
        {"key": "c", "source": "/data/c 1.wav", "target": ""},
        {"key": "d", "source": "/data/d.wav", "target": ""},
    ]
    for number, sizes in ((47, [4, 43]), (5, [1, 4])):
        lines = [json.dumps({"source": f"{place}.wav", "target": "x"}) for place in range(number)]
        (tmp_path / "data.jsonl").write_text("\n".join(lines))
        perform(split, tmp_path, os.environ)
        parts = [(tmp_path / f"{name}.jsonl").read_text().splitlines() for name in ("validation", "train")]
        assert [len(part) for part in parts] == sizes
        assert sorted(parts[0] + parts[1]) == sorted(lines)
