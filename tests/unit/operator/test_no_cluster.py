"""`asrtune-operator run` where there is no cluster to be reached."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

RUN = "from asrtune_operator.cli import main; main()"


@pytest.mark.parametrize("options", [[], ["--kubeconfig", "/nonexistent"]])
def test_it_says_what_to_give_it(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", *options], capture_output=True, text=True, env={}, check=False
    )
    assert done.returncode == 1
    said = (done.stdout + done.stderr).splitlines()
    last = json.loads(said[-1])
    assert last["message"] == "there is no way to a cluster"
    assert "--kubeconfig FILE" in last["remedy"]
