"""`kubectl asrtune wait`: its exit codes are what CI goes by."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import pytest

from cluster.cluster import Cluster
from tools.plugin import Plugin
from tools.statuses import FAILED, RUNNING, SUCCEEDED, store

Json = dict[str, Any]


@pytest.fixture
def plugin(cluster: Cluster) -> Plugin:
    return Plugin(cluster.kubeconfig)


def gated(status: str, reason: str, message: str) -> Json:
    """A run that has succeeded, and whose gate says so."""
    done = copy.deepcopy(SUCCEEDED)
    gate = next(one for one in done["conditions"] if one["type"] == "QualityGatePassed")
    gate |= {"status": status, "reason": reason, "message": message}
    return done


ABOVE = 'finetuned on "calls": CER is 8.1 %, above the limit of 5 %.'


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (SUCCEEDED, 0, "Quality gate passed."),
        (gated("False", "AboveMaximum", ABOVE), 1, "above the limit of 5 %"),
        (gated("Unknown", "NotEvaluated", "No test set has been scored yet."), 1, "not judged"),
        (FAILED, 2, "OutOfMemory"),
    ],
)
def test_the_end_is_an_exit_code(
    cluster: Cluster, namespace: str, plugin: Plugin, status: Json, code: int, words: str
) -> None:
    store(cluster.api, namespace, status)
    assert words in plugin.says("wait", "calls", "-n", namespace, code=code)


def test_it_waits_for_the_end_and_leaves_a_summary(
    cluster: Cluster, namespace: str, plugin: Plugin, tmp_path: Path
) -> None:
    store(cluster.api, namespace, RUNNING, "weekly", "ASREvaluation")
    end = {key: value for key, value in SUCCEEDED.items() if key not in {"bestCer", "stages"}}
    later = threading.Timer(
        2, cluster.api.patch_status, ("ASREvaluation", "weekly", {**end, "stages": None}, namespace)
    )
    later.start()
    file = tmp_path / "summary.md"
    file.write_text("# A job\n")
    said = plugin("wait", "evaluation/weekly", "-n", namespace, "--timeout", "60", "--summary", str(file))
    later.join()
    assert said.exit_code == 0, said.stderr
    assert "Running" in said.stderr
    lines = file.read_text().splitlines()
    assert lines[0] == "# A job"
    assert f"### ASREvaluation {namespace}/evaluation/weekly: Succeeded" in lines
    assert "| calls | finetuned | CER 8.10 % | 7.70 to 8.50 | -4.21 | -4.80 to -3.60 | 5,000 |" in lines


def test_the_time_may_be_over_first(cluster: Cluster, namespace: str, plugin: Plugin) -> None:
    store(cluster.api, namespace, RUNNING)
    said = plugin.says("wait", "calls", "-n", namespace, "--timeout", "1.5", code=4)
    assert "has not ended within 1.5 s; it goes on." in said


def test_a_summary_that_cannot_be_written_is_told(
    cluster: Cluster, namespace: str, plugin: Plugin, tmp_path: Path
) -> None:
    store(cluster.api, namespace, SUCCEEDED)
    said = plugin.says("wait", "calls", "-n", namespace, "--summary", str(tmp_path / "no/where"), code=3)
    assert "the summary cannot be written: No such file or directory" in said
