"""What README and the laptop's start page tell people to type, on a tiny model and recordings in place of their own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.documents import ROOT, blocks, file_of, perform, told
from tools.project import write_list
from tools.tiny_models import make_corpus, make_tiny_model

PAGES = ("README.md", "docs/start-laptop.md")


def prepared(page: str, root: Path) -> None:
    """The page's finetune.yaml in a directory, a tiny model for its hub's, and a list wherever it names one."""
    manifest: dict[str, Any] = yaml.safe_load(file_of(page, "finetune.yaml"))
    make_tiny_model("ctc", root / "base")
    manifest["spec"]["model"] = {"uri": "base"}
    manifest["spec"]["recipe"]["overrides"] = [
        {"name": "train", "train": {"epochs": 1, "workers": 0}},
        {"name": "export", "export": {"verifyUtterances": 1}},
    ]
    named = [one["uri"] for part in ("train", "validation", "test") for one in manifest["spec"]["data"][part]]
    corpus = make_corpus(root / "data/audio", 8 * len(named))
    for number, uri in enumerate(named):
        write_list(root / uri, corpus[8 * number : 8 * number + 8])
    first = json.loads((root / named[0]).read_text().splitlines()[0])["source"]
    (root / "data/audio/0001.wav").symlink_to(root / "data" / first)
    (root / "finetune.yaml").write_text(yaml.safe_dump(manifest))
    (root / ".venv").symlink_to(ROOT / ".venv")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_lead_to_a_model_and_a_report(page: str, tmp_path: Path) -> None:
    prepared(page, tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    commands = told(page, "laptop")
    assert commands
    for block in commands:
        perform(block, tmp_path, environment)
    out = tmp_path / "runs/my-calls"
    assert (out / "report/index.html").is_file()
    assert (out / "model/model.pt").is_file()
    for block in told(page, "python"):
        script = [str(ROOT / ".venv/bin/python"), "-c", block.text]
        done = subprocess.run(
            script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block.place}: {done.stderr}"


@pytest.mark.soak
@pytest.mark.parametrize("page", PAGES)
def test_make_demo_does_what_the_pages_say(page: str, tmp_path: Path) -> None:
    """Its own command, with the output elsewhere: the checkout's runs/ are somebody's."""
    assert any("make demo" in one.text for one in blocks(page))
    shown = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    command = shlex.split(shown.stdout.splitlines()[-1])
    done = subprocess.run(
        [*command, "--set", f"output.uri={tmp_path}/out"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/report/index.html").is_file()
    assert "CER" in done.stdout + done.stderr
