"""With nothing fake but GPUs: real API server, operator, kubelets, containers, and training."""

from __future__ import annotations

import os
import signal
import time

import pytest

from cluster.client import Json
from cluster.cluster import Cluster
from cluster.nodes import Nodes
from cluster.waiting import wait_for
from tools.on_nodes import SLOW, Demo, RealRun, Workplace, same, training_alone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
STAGES = ("prepare", "train", "average", "evaluate", "export", "publish")


def test_wrong_data_fail_at_once_with_the_lines_words(workplace: Workplace) -> None:
    data = workplace.project.spec["data"] | {"train": [{"name": "broken", "uri": "broken.jsonl"}]}
    changed = workplace.run("broken", lambda project: project.spec.update(data=data))
    changed.apply()
    status = changed.wait_phase("Failed")
    failed = changed.condition("Failed")
    assert failed["reason"] == "DataInvalid"
    assert "broken.jsonl" in failed["message"], failed
    assert [one["verdict"] for one in status["attempts"]] == ["DataInvalid"]
    (pod,) = changed.pods()
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 65
    assert "broken.jsonl" in changed.plugin("why", code=2)


def test_from_apply_to_a_model_with_its_cer(demo: Demo) -> None:
    run = demo.run
    status = run.status()
    assert [(one["name"], one["state"], one["attempts"]) for one in status["stages"]] == [
        (name, "Succeeded", 1) for name in STAGES
    ]
    assert run.condition("Complete")["status"] == "True"
    columns = printed(run)
    assert columns["PHASE"] == "Succeeded"
    assert float(columns["CER"]) == float(status["bestCer"]["percent"])
    assert {one["set"] for one in status["results"]} == {"tones-test"}
    assert (run.output / "model/configuration.json").is_file()
    assert (run.output / "report/index.html").is_file()
    assert status["artifacts"]["model"].endswith("/runs/demo/model")
    assert set(demo.gang) <= {"node1", "node2"}
    assert len(demo.gang) == 2
    assert "train" in demo.screen
    assert "step" in demo.screen


def printed(run: RealRun) -> dict[str, str]:
    """What `kubectl get asrfinetune` prints, by column."""
    kubectl = run.place.cluster.plane.kubectl
    header, row = kubectl("get", "asrfinetune", run.name, "-n", run.place.namespace).splitlines()
    begins = [header.index(word) for word in header.split()]
    ends = [*begins[1:], None]
    return {header[a:b].strip(): row[a:b].strip() for a, b in zip(begins, ends, strict=True)}


def test_the_plugin_shows_what_all_ranks_printed(demo: Demo) -> None:
    lines = demo.printed.splitlines()
    assert any(line.startswith("rank 0 |") and "step 150/150" in line for line in lines)
    assert any(line.startswith("rank 1 |") for line in lines)


def test_suspended_resumed_and_killed_it_ends_with_the_same_weights(
    nodes: tuple[Cluster, Nodes],
    workplace: Workplace,
    undisturbed: RealRun,
) -> None:
    run = workplace.run("disturbed", training_alone)
    run.apply()
    run.wait_for_step(3)
    asked = time.monotonic()
    run.suspend(suspended=True)
    run.wait(lambda status: status["phase"] == "Suspended" and not run.pods("train"), "the end of the pods")
    saved = run.checkpoints()[-1]
    print(f"suspend -> pods gone {time.monotonic() - asked:.1f} s, checkpoint of step {saved}")
    assert run.attempts("train")[-1]["verdict"] == "Suspended"

    asked = time.monotonic()
    run.suspend(suspended=False)
    run.wait(lambda _: len(running(run)) == 2, "the gang")
    print(f"resume -> gang running {time.monotonic() - asked:.1f} s", end="")
    run.wait_for_step(saved + 1)
    print(f", -> step after the checkpoint {time.monotonic() - asked:.1f} s")
    assert [one["attempt"] for one in run.attempts("train")] == [1, 2]
    assert f"goes on after step {saved}" in run.plugin("logs", "--stage", "train", "--attempt", "2")

    init, *_ = nodes[1].processes_of("execute /etc/asrtune/run/run.json --start-at=train")
    os.kill(init, signal.SIGKILL)
    run.wait_phase("Succeeded", SLOW)
    attempts = run.attempts("train")
    assert [one["attempt"] for one in attempts] == [1, 2, 3]
    assert attempts[2]["verdict"] == "Succeeded"
    print("killed:", attempts[1]["verdict"], attempts[1]["message"])
    same(run.trained(), undisturbed.trained())


def running(run: RealRun) -> list[Json]:
    return [pod for pod in run.pods("train") if pod["status"]["phase"] == "Running"]


def test_deleted_while_it_trains_it_saves_and_leaves_nothing(
    nodes: tuple[Cluster, Nodes], workplace: Workplace
) -> None:
    run = workplace.run("deleted", training_alone)
    run.apply()
    status = run.wait_for_step(3)
    asked = time.monotonic()
    run.delete()
    wait_for(lambda: not left(run), what="the end of all that it had", timeout=120, state=lambda: left(run))
    print(f"delete -> everything gone {time.monotonic() - asked:.1f} s")
    assert run.checkpoints()[-1] >= status["progress"]["step"]
    assert not nodes[1].processes_of("deleted-train")


def left(run: RealRun) -> list[str]:
    """What the cluster still has of a run."""
    place = run.place
    kinds = ("pods", "jobs", "services", "configmaps")
    found = [
        place.cluster.api.list(kind, place.namespace, labels=f"asrtune.dev/run={run.name}") for kind in kinds
    ]
    return [one["metadata"]["name"] for of_kind in found for one in of_kind]
