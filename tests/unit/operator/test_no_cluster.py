"""`asrtune-operator run` where there is no cluster to be reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = "from asrtune_operator.cli import main; main()"


BROKEN = {"yaml": "clusters: [", "types": "{clusters: 5, contexts: 5, current-context: x}", "empty": ""}


def said(*options: str) -> dict[str, str]:
    """Its last word."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", *options], capture_output=True, text=True, env={}, check=False
    )
    assert done.returncode == 1
    lines = (done.stdout + done.stderr).splitlines()
    last: dict[str, str] = json.loads(lines[-1])
    assert last["message"] == "there is no way to a cluster", lines
    assert not any("Traceback" in line for line in lines)
    return last


def test_it_says_what_to_give_it() -> None:
    assert "--kubeconfig FILE" in said()["remedy"]


def test_a_file_that_is_not_there() -> None:
    assert "the file that --kubeconfig names" in said("--kubeconfig", "/nonexistent")["remedy"]


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_malformed_file(text: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    assert "the file that --kubeconfig names" in said("--kubeconfig", str(file))["remedy"]
