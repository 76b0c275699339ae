"""The fault matrix: what people change under a run, and what it can do without."""

from __future__ import annotations

import shutil

import pytest

from asrtune_trainer.data.utterance import read_utterances
from cluster.cluster import Cluster
from cluster.nodes import Nodes
from cluster.operator import Operator
from tools.matrix import TRAINING, Site, befall, fault, row
from tools.on_nodes import SLOW, RealRun, Workplace, same, training_alone
from tools.project import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_spec_that_is_edited_throws_nothing_away(workplace: Workplace, undisturbed: RealRun) -> None:
    """What runs is brought to its end; then the edited spec is run, and comes to what it would have come to alone."""

    def edited(project: Project) -> None:
        training_alone(project)
        project.stage("train").update(learningRate="0.001")

    alone = workplace.run("as-edited", edited)
    alone.apply()
    alone.wait_phase("Succeeded", SLOW)
    run = workplace.run("edited", training_alone)
    run.apply()
    run.wait_for_step(TRAINING)
    kept = {}

    def first_end(_: object) -> bool:
        ended = bool(run.attempts("train")[0].get("finishedAt"))
        if ended and not kept and (run.output / "stages/train/manifest.json").is_file():
            kept["trained"] = run.trained()
        return ended

    run.manifest["spec"]["stages"][1]["train"]["learningRate"] = "0.001"
    run.apply()
    run.wait(first_end, "the end of what ran", SLOW)
    run.wait(lambda _: len(run.attempts("train")) > 1, "the edited spec", SLOW)
    run.wait_phase("Succeeded", SLOW)
    verdicts = [one["verdict"] for one in run.attempts("train")]
    row("the spec is edited while it trains", ", ".join(verdicts), "-", 0)
    assert verdicts == ["Succeeded", "Succeeded"]
    same(kept["trained"], undisturbed.trained())
    same(run.trained(), alone.trained())


def test_training_data_that_are_deleted_are_named(
    nodes: tuple[Cluster, Nodes], operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def uncached(project: Project) -> None:
        training_alone(project)
        project.stage("train").update(featureCacheMiB=0)

    place = Workplace(nodes[0], tmp_path_factory.mktemp("deleted-data"))
    run = place.run("data-deleted", uncached)
    run.apply()
    run.wait_for_step(TRAINING)
    shutil.rmtree(place.disk / "audio")
    run.wait_phase("Failed", SLOW)
    failed = run.condition("Failed")
    row("training data are deleted while it trains", failed["reason"], failed["message"])
    assert failed["reason"] == "DataInvalid"
    prepared = [run.output / f"stages/prepare/{name}.jsonl" for name in ("train", "validation")]
    keys = {one.key for path in prepared for one in read_utterances(path)}
    assert any(key in failed["message"] for key in keys)
    assert [one["verdict"] for one in run.attempts("train")] == ["DataInvalid"]
    assert run.checkpoints(), "what was trained until then is gone"


def test_a_pushgateway_that_is_not_there_disturbs_nobody(
    nodes: tuple[Cluster, Nodes],
    operator: Operator,
    workplace: Workplace,
    undisturbed: RealRun,
) -> None:
    """Nor does Prometheus, which nobody runs here: it asks, and is not asked."""
    gateway = "http://10.250.0.1:9"
    reference = workplace.runtime("no-gateway", telemetry={"pushGateway": gateway})
    absent = fault("the Pushgateway is absent", lambda _: None, "Succeeded", runtimeRef=reference)
    run = workplace.run(absent.run_name, training_alone, **absent.spec)
    befall(absent, Site(*nodes, operator, run), undisturbed)
    assert f"the Pushgateway {gateway} cannot be reached" in run.plugin("logs", "--stage", "train")
