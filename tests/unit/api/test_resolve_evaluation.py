"""From an ASREvaluation to a RunSpec: where each model lies, what is waited for, and who decided."""

from collections.abc import Mapping
from typing import Any

import pytest

from asrtune_api.errors import NotReadyError, SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.finetune import ASRFinetune
from asrtune_api.resolve import Place
from asrtune_api.resolve_evaluation import finetunes_of, resolve_evaluation
from asrtune_api.runspec import Origin, RunSpec, parse_runspec
from asrtune_api.runtime import ClusterASRRuntime
from tools.evaluations import ACCEPTED, evaluation, gate
from tools.manifests import DELETE, manifest

BY_NAME = {"models.1": {"name": "tuned", "finetune": {"name": "demo"}}, "models.2": {
    "name": "early", "finetune": {"name": "demo", "stage": "train", "step": 300}}}  # fmt: skip
ON_S3 = {
    "testSets.0.uri": "s3://bucket/calls.jsonl",
    "testSets.1.uri": "s3://bucket/studio.jsonl",
    "output.uri": "s3://bucket/check",
}


def finetune(states: Mapping[str, str] | None = None, **changes: Any) -> ASRFinetune:
    """A finetune whose stages are in these states; the rest are finished."""
    types = {"train": "Train", "average": "Average", "publish": "Publish"}
    stages = [
        {"name": name, "type": kind, "state": (states or {}).get(name, "Succeeded")}
        for name, kind in types.items()
    ]
    document = manifest({"output.uri": "s3://bucket/demo", **changes})
    return ASRFinetune.model_validate({**document, "status": {"phase": "Running", "stages": stages}})


def resolved(
    changes: Mapping[str, Any] | None = None,
    finetunes: Mapping[str, ASRFinetune] | None = None,
    *,
    base: str | None = "/m",
    **more: Any,
) -> RunSpec:
    return resolve_evaluation(
        ASREvaluation.model_validate(evaluation(changes)), None, finetunes, base=base, **more
    )


def test_paths_start_at_the_manifest_and_each_model_lies_somewhere() -> None:
    run = resolved()
    assert run.output == "/m/runs/check"
    assert [one.uri for one in run.data.test] == ["/m/data/calls.jsonl", "/m/data/studio.jsonl"]
    assert (run.data.train, run.data.validation, run.model) == ([], [], None)
    assert run.comparison is not None
    base, tuned, early = run.comparison.candidates
    assert base.model is not None
    assert (base.model.hub, base.label) == ("iic/SenseVoiceSmall", "iic/SenseVoiceSmall")
    assert tuned.label == "/m/runs/demo/model"
    assert early.made_by is not None
    assert (early.made_by.output, early.made_by.stage, early.made_by.step) == ("/m/runs/demo", "train", 300)
    assert early.label == "/m/runs/demo, stage train, step 300"
    assert run.comparison.baseline == "base"
    assert [(stage.name, stage.type) for stage in run.stages] == [
        ("prepare", "Prepare"),
        ("evaluate", "Evaluate"),
    ]


def test_finetunes_by_name_lie_where_they_put_them() -> None:
    run = resolved({**BY_NAME, **ON_S3}, {"demo": finetune()}, base=None)
    assert run.comparison is not None
    assert run.comparison.candidates[1].label == "s3://bucket/demo/model"
    assert run.comparison.candidates[2].label == "s3://bucket/demo, stage train, step 300"


def test_test_sets_of_a_finetune() -> None:
    changes = {"testSets": DELETE, "testSetsFrom": {"name": "demo"}}
    test = [{"name": "calls", "uri": "s3://bucket/c.jsonl", "retention": True}]
    run = resolved(changes, {"demo": finetune(**{"data.test": test})})
    assert [one.model_dump() for one in run.data.test] == test
    with pytest.raises(SpecInvalidError, match="has no test set"):
        resolved(changes, {"demo": finetune()})


def test_names_that_an_evaluation_depends_on() -> None:
    changes = {**BY_NAME, "testSets": DELETE, "testSetsFrom": {"name": "other"}}
    assert finetunes_of(ASREvaluation.model_validate(evaluation(changes)).spec) == ["demo", "other"]


@pytest.mark.parametrize(
    ("states", "words"),
    [({"publish": "Running"}, "has not finished stage publish yet (it is Running)"),
     ({"train": "Running"}, "has not finished stage train yet")],
)  # fmt: skip
def test_what_is_not_made_yet_is_waited_for(states: dict[str, str], words: str) -> None:
    with pytest.raises(NotReadyError) as caught:
        resolved(BY_NAME, {"demo": finetune(states)})
    assert words in str(caught.value)
    assert caught.value.reason == "NotReady"
    assert caught.value.where.startswith("spec.models[")


def test_a_stage_is_enough_where_only_the_stage_is_wanted() -> None:
    changes = {"models.1": {"name": "mean", "finetune": {"name": "demo", "stage": "average"}}}
    assert resolved(changes, {"demo": finetune({"publish": "Pending", "average": "Skipped"})})


def test_a_finetune_that_nobody_has_looked_at_is_waited_for() -> None:
    new = ASRFinetune.model_validate(manifest({"output.uri": "s3://bucket/demo"}))
    with pytest.raises(NotReadyError, match="it has not begun"):
        resolved(BY_NAME, {"demo": new})


def test_a_finetune_that_does_not_exist_is_waited_for_too() -> None:
    with pytest.raises(NotReadyError, match=r'no ASRFinetune demo.*Did you mean "demos"') as caught:
        resolved(BY_NAME, {"demos": finetune()})
    assert caught.value.reason == "FinetuneNotFound"


def test_a_finetune_by_name_needs_a_cluster() -> None:
    with pytest.raises(SpecInvalidError, match=r"finetune.uri instead of finetune.name") as caught:
        resolved(BY_NAME)
    assert not isinstance(caught.value, NotReadyError)
    assert caught.value.where == "spec.models[tuned].finetune.name"


def test_a_stage_that_the_finetune_does_not_have_is_no_matter_of_time() -> None:
    changes = {"models.1": {"name": "tuned", "finetune": {"name": "demo", "stage": "trian"}}}
    with pytest.raises(SpecInvalidError, match='Did you mean "train"') as caught:
        resolved(changes, {"demo": finetune()})
    assert caught.value.reason == "StageUnknown"


@pytest.mark.parametrize("output", ["runs/demo", "runs/demo/", "/m/runs/demo"])
@pytest.mark.parametrize("model", ["tuned", "early"])
def test_it_must_not_write_into_the_run_that_it_judges(output: str, model: str) -> None:
    kept = next(one for one in evaluation()["spec"]["models"] if one["name"] == model)
    with pytest.raises(SpecInvalidError, match=f"the run that made the model {model}"):
        resolved({"models": [kept], "baseline": DELETE, "output.uri": output})


def test_relative_paths_mean_nothing_on_a_cluster() -> None:
    with pytest.raises(SpecInvalidError) as caught:
        resolved(base=None)
    assert caught.value.where == "spec.testSets[calls].uri"


def test_sets_of_another_object_are_checked_when_they_are_known() -> None:
    changes = ACCEPTED["sets-elsewhere"]
    other = finetune(**{"data.test": [{"name": "calls", "uri": "s3://bucket/c.jsonl"}]})
    with pytest.raises(SpecInvalidError, match='no test set "known-there"'):
        resolved(changes, {"demo": other})
    many = [{"name": f"s{number}", "uri": "s3://bucket/x"} for number in range(11)]
    with pytest.raises(SpecInvalidError, match="more than 32 results"):
        resolved(
            {"testSets": DELETE, "testSetsFrom": {"name": "demo"}}, {"demo": finetune(**{"data.test": many})}
        )


def test_gate_and_people_reach_the_run() -> None:
    changes = gate({"set": "calls", "maxIncreasePercent": "-2"}, models=["tuned"])
    run = resolved({**changes, "humanReference": [{"set": "calls", "percent": "20.45"}]})
    assert run.quality_gate is not None
    assert run.quality_gate.on_failure == "Report"
    assert run.comparison is not None
    assert (run.comparison.judged, run.comparison.human[0].percent) == (["tuned"], 20.45)


def test_place_and_runtime_decide_the_rest() -> None:
    runtime = ClusterASRRuntime.model_validate(
        {
            "metadata": {"name": "gpus"},
            "spec": {
                "storage": {"endpoint": "http://s3:9000", "secretRef": {"name": "keys"}},
                "gpuPricePerHour": "2.5",
            },
        }
    )
    document = ASREvaluation.model_validate(evaluation({"resources": {"gpus": 1}, "seed": 7}))
    place = Place(credentials_dir="/keys", telemetry_host="0.0.0.0", telemetry_port=9100)
    run = resolve_evaluation(document, runtime, base="/m", place=place)
    assert (run.storage.endpoint, run.storage.credentials_dir, run.storage.path_style) == (
        "http://s3:9000",
        "/keys",
        True,
    )
    assert (run.gang.nodes, run.gang.gpus_per_node, run.gang.processes_per_node) == (1, 1, 1)
    assert (run.telemetry.port, run.gpu_price_per_hour, run.seed) == (9100, 2.5, 7)


@pytest.mark.parametrize(
    "name", [name for name, changes in ACCEPTED.items() if "testSetsFrom" not in changes]
)
def test_the_runspec_survives_json_and_says_who_decided(name: str) -> None:
    finetunes = {"demo": finetune(), "demo.v2": finetune()}
    run = resolved(ACCEPTED[name], finetunes)
    assert parse_runspec(run.model_dump_json()) == run
    decided = {one.path: one for one in run.decisions}
    assert len(decided) == len(run.decisions)
    assert decided["output"].origin is Origin.USER
    assert decided["stages.evaluate.ignoreCase"].origin is Origin.DEFAULT
    assert all(one.reason for one in run.decisions)


def test_the_users_scoring_wins() -> None:
    run = resolved({"scoring": {"unit": "Word", "bootstrapSamples": 200}})
    decided = {one.path: one for one in run.decisions}
    one = decided["stages.evaluate.unit"]
    assert (one.value, one.origin, one.reason) == ("Word", Origin.USER, "spec.scoring.unit")
    assert run.stages[1].evaluate is not None
    assert run.stages[1].evaluate.bootstrap_samples == 200
