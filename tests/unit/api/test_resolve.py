from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asrtune_api.base import LIST_MAP_KEY, ApiModel, extra_of
from asrtune_api.crd_schema import object_schema
from asrtune_api.errors import ExitCode, SpecInvalidError
from asrtune_api.finetune import ASRFinetune
from asrtune_api.layers import text_of
from asrtune_api.preset import load_preset, preset_names
from asrtune_api.resolve import Place, resolve
from asrtune_api.runspec import Decision, Origin, RunSpec, parse_runspec
from asrtune_api.runtime import ClusterASRRuntime
from asrtune_api.stages import PARAMS, StageSpec, stage_params
from tools.manifests import DELETE, chain, manifest, override
from tools.schemas import documents

BASE = "/home/me/demo"


def finetune(changes: dict[str, Any] | None = None) -> ASRFinetune:
    return ASRFinetune.model_validate(manifest(changes))


def run_of(changes: dict[str, Any] | None = None) -> RunSpec:
    return resolve(finetune(changes), base=BASE)


def runtime(**spec: Any) -> ClusterASRRuntime:
    return ClusterASRRuntime.model_validate({"metadata": {"name": "gpus"}, "spec": spec})


def decision(run: RunSpec, path: str) -> Decision:
    (found,) = [decision for decision in run.decisions if decision.path == path]
    return found


def leaves(model: ApiModel, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a model by its path, told without any help of the code under test."""
    values = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        value, key = getattr(model, name), field.alias or name
        at = f"{path}.{key}" if path else key
        map_key = extra_of(field, LIST_MAP_KEY)
        if isinstance(value, ApiModel):
            yield from leaves(value, at)
        elif map_key and value:
            for item in value:
                for inner, leaf in leaves(item, f"{at}.{getattr(item, map_key)}"):
                    if inner != f"{at}.{getattr(item, map_key)}.{map_key}":
                        yield inner, leaf
        else:
            yield at, values[key]


def run_leaves(run: RunSpec) -> Iterator[tuple[str, Any]]:
    for at, value in leaves(run):
        if at.split(".")[0] not in {"version", "stages", "comparison", "qualityGate", "decisions"}:
            yield at, value
    for stage in run.stages:
        yield f"stages.{stage.name}.type", str(stage.type)
        yield from leaves(stage_params(stage), f"stages.{stage.name}")


def flat(params: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}.{key}")
        else:
            yield f"{path}.{key}", value


PRESET_STAGES = [(preset, stage) for preset in preset_names() for stage in load_preset(preset).stages]


@st.composite
def said_in_an_override(draw: st.DrawFn) -> tuple[str, StageSpec, dict[str, Any]]:
    preset, stage = draw(st.sampled_from(PRESET_STAGES))
    return preset, stage, draw(documents(object_schema(PARAMS[stage.type][1])))


@given(said_in_an_override())
def test_the_users_word_wins(case: tuple[str, StageSpec, dict[str, Any]]) -> None:
    preset, stage, params = case
    key, _ = PARAMS[stage.type]
    changes = {"recipe": {"preset": preset, "overrides": [{"name": stage.name, key: params}]}}
    run = resolve_or_assume(changes)
    (resolved,) = [stage_params(s) for s in run.stages if s.name == stage.name]
    values = resolved.model_dump(mode="json")
    decided = {decision.path: decision for decision in run.decisions}
    for path, value in flat(params, f"stages.{stage.name}"):
        assert decided[path].origin is Origin.USER
        assert decided[path].value == text_of(value)
        assert (
            decided[path].reason
            == f"spec.recipe.overrides[{stage.name}].{path.replace('stages.' + stage.name, key)}"
        )
    for path, value in flat(values, f"stages.{stage.name}"):
        if path not in dict(flat(params, f"stages.{stage.name}")):
            assert decided[path].origin is not Origin.USER, (path, value)


def resolve_or_assume(changes: dict[str, Any]) -> RunSpec:
    """Drawn values may break a rule over several fields, or name sources that are not there."""
    try:
        return run_of(changes)
    except (ValidationError, SpecInvalidError) as error:
        assume("must" not in str(error) and "there is no data source" not in str(error))
        raise


@given(said_in_an_override())
@settings(max_examples=40)
def test_every_leaf_has_one_decision_with_its_value(case: tuple[str, StageSpec, dict[str, Any]]) -> None:
    preset, stage, params = case
    key, _ = PARAMS[stage.type]
    run = resolve_or_assume({"recipe": {"preset": preset, "overrides": [{"name": stage.name, key: params}]}})
    assert [(d.path, d.value) for d in run.decisions] == [
        (at, text_of(value)) for at, value in run_leaves(run)
    ]
    assert all(d.reason for d in run.decisions)


@given(said_in_an_override())
@settings(max_examples=40)
def test_runspec_survives_json(case: tuple[str, StageSpec, dict[str, Any]]) -> None:
    preset, stage, params = case
    key, _ = PARAMS[stage.type]
    run = resolve_or_assume({"recipe": {"preset": preset, "overrides": [{"name": stage.name, key: params}]}})
    text = run.model_dump_json()
    assert parse_runspec(text) == run
    assert parse_runspec(text).model_dump_json() == text
    assert parse_runspec(run.model_dump_json(exclude_none=True)) == run


def test_resolving_what_was_resolved_changes_nothing() -> None:
    """The stages of a RunSpec, written into a manifest as they stand, give the same stages."""
    run = run_of()
    again = run_of({"recipe": DELETE, "stages": run.model_dump(mode="json")["stages"]})
    assert again.stages == run.stages
    origins = {d.path: d.origin for d in again.decisions if d.path.startswith("stages.")}
    assert {path for path, origin in origins.items() if origin is Origin.DEFAULT} <= {
        d.path for d in run.decisions if d.value == "unset"
    }


def test_resolve_is_deterministic() -> None:
    assert run_of().model_dump_json() == run_of().model_dump_json()


def test_a_value_that_equals_the_default_is_still_the_users() -> None:
    run = run_of(override("train", gradientClip="5"))
    assert decision(run, "stages.train.gradientClip").origin is Origin.USER
    assert decision(run_of(), "stages.train.gradientClip").origin is Origin.DEFAULT


def test_nested_parameters_are_merged_field_by_field() -> None:
    run = run_of(override("train", batch={"size": 99}))
    origins = {d.path: d.origin for d in run.decisions}
    assert origins["stages.train.batch.size"] is Origin.USER
    assert origins["stages.train.batch.unit"] is Origin.PRESET
    assert origins["stages.train.batch.maxUtterances"] is Origin.DEFAULT


def test_preset_may_decide_checkpoints_and_the_user_over_it() -> None:
    preset = {"recipe": {"preset": "dysarthric-paraformer"}}
    assert run_of(preset).checkpoint.every_steps == 2000
    assert decision(run_of(preset), "checkpoint.everySteps").reason == "preset dysarthric-paraformer"
    assert run_of({**preset, "checkpoint": {"everySteps": 7}}).checkpoint.every_steps == 7


@pytest.mark.parametrize(
    ("uri", "base", "absolute"),
    [
        ("data/a.jsonl", "/m", "/m/data/a.jsonl"),
        ("./data/../a.jsonl", "/m", "/m/a.jsonl"),
        ("../a.jsonl", "/m/n", "/m/a.jsonl"),
        ("/data/a.jsonl", "/m", "/data/a.jsonl"),
        ("file:///data/a%20b.jsonl", "/m", "/data/a b.jsonl"),
        ("s3://bkt/k", "/m", "s3://bkt/k"),
        ("data/a.jsonl", "s3://bkt/runs", "s3://bkt/runs/data/a.jsonl"),
        ("../a.jsonl", "s3://bkt/runs/x", "s3://bkt/runs/a.jsonl"),
        ("a.jsonl", "s3://bkt", "s3://bkt/a.jsonl"),
        ("..", "s3://bkt/runs", "s3://bkt"),
        ("/data/a.jsonl", "s3://bkt/runs", "/data/a.jsonl"),
        ("s3://bkt/k", None, "s3://bkt/k"),
    ],
)
def test_uris_become_absolute(uri: str, base: str | None, absolute: str) -> None:
    rest = {"model.uri": "/m", "data.validation.0.uri": "/v", "output.uri": "/o"}
    run = resolve(finetune({**rest, "data.train.0.uri": uri}), base=base)
    assert run.data.train[0].uri == absolute
    reason = decision(run, "data.train.clean.uri").reason
    assert (f'written as "{uri}"' in reason) == (uri != absolute)


@pytest.mark.parametrize(
    ("uri", "base", "words"),
    [
        ("data", None, "relative path, which means nothing on a cluster"),
        ("../../a", "s3://bkt/runs", "leaves the bucket"),
        ("~/a", "/m", "~ is not expanded"),
        ("s3:/bucket/a", "/m", "is no URI that asrtune reads"),
        ("file:/a", None, "is no URI that asrtune reads"),
    ],
)
def test_uri_that_leads_nowhere(uri: str, base: str | None, words: str) -> None:
    rest = {"model.uri": "/m", "data.validation.0.uri": "/v", "output.uri": "/o"}
    with pytest.raises(SpecInvalidError, match=words) as caught:
        resolve(finetune({**rest, "data.train.0.uri": uri}), base=base)
    assert caught.value.where == "spec.data.train.clean.uri"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"recipe.preset": "telephone"}, "spec.recipe.preset", 'Did you mean "telephone-8k"?'),
        (
            {"recipe.preset": "xyz"},
            "spec.recipe.preset",
            "The presets are dysarthric-paraformer, general-16k,",
        ),
        (
            {"recipe.overrides": [{"name": "trian"}]},
            "spec.recipe.overrides[trian]",
            'Did you mean "train"?',
        ),
        (
            {"recipe.overrides": [{"name": "train", "export": {}}]},
            "spec.recipe.overrides[train]",
            "is of type Train, not Export",
        ),
        (
            {"recipe.overrides": [{"name": "train", "type": "Export"}]},
            "spec.recipe.overrides[train]",
            "is of type Train, not Export",
        ),
        ({"startAt": "trian"}, "spec.startAt", 'Did you mean "train"?'),
        ({"stopAfter": "x"}, "spec.stopAfter", "The stages are prepare, simulate, train,"),
        ({"startAt": "export", "stopAfter": "train"}, "spec.startAt", "nothing would run"),
        (override("simulate", sources=["claen"]), "stages.simulate.sources", 'Did you mean "clean"?'),
        (
            override("simulate", sources=["dev"], splits=["Train"]),
            "stages.simulate.sources",
            "The sources are clean.",
        ),
        (override("simulate", snrDbMin="30"), "stage simulate", "snrDbMin must not be greater than snrDbMax"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        run_of(changes)
    assert caught.value.where == where
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.SPEC_INVALID


def test_chain_of_the_manifest_itself() -> None:
    run = run_of(chain())
    assert [stage.name for stage in run.stages] == ["prepare", "train", "publish"]
    assert decision(run, "stages.train.epochs").reason == "spec.stages[train].train.epochs"
    assert decision(run, "stages.train.type").origin is Origin.USER


@pytest.mark.parametrize(
    ("resources", "gang"),
    [
        ({}, (1, 1, 0)),
        ({"gpusPerNode": 4}, (1, 4, 4)),
        ({"nodes": 2, "processesPerNode": 3}, (2, 3, 0)),
        ({"gpusPerNode": 4, "processesPerNode": 2}, (1, 2, 4)),
    ],
)
def test_gang(resources: dict[str, int], gang: tuple[int, int, int]) -> None:
    run = run_of({"resources": resources})
    assert (run.gang.nodes, run.gang.processes_per_node, run.gang.gpus_per_node) == gang
    by_user = "processesPerNode" in resources
    assert (decision(run, "gang.processesPerNode").origin is Origin.USER) == by_user


PLATFORM = {
    "storage": {"endpoint": "http://s3:9000", "region": "r1", "secretRef": {"name": "platform"}},
    "telemetry": {"port": 9100, "pushGateway": "http://push:9091"},
    "gpuPricePerHour": "2.5",
    "trustRemoteCode": True,
}
POD = Place(credentials_dir="/etc/s3", telemetry_host="0.0.0.0", telemetry_port=9090)


def test_runtime_decides_what_the_user_leaves_open() -> None:
    run = resolve(finetune(), runtime(**PLATFORM), base=BASE, place=POD)
    assert run.storage.model_dump(by_alias=False) == {
        "endpoint": "http://s3:9000",
        "region": "r1",
        "path_style": True,
        "credentials_dir": "/etc/s3",
    }
    assert (run.telemetry.host, run.telemetry.port) == ("0.0.0.0", 9100)
    assert run.telemetry.push_gateway == "http://push:9091"
    assert (run.gpu_price_per_hour, run.trust_remote_code) == (2.5, True)
    assert decision(run, "trustRemoteCode").origin is Origin.RUNTIME
    assert decision(run, "trustRemoteCode").reason == "ClusterASRRuntime gpus"


def test_user_decides_over_the_runtime() -> None:
    changes = {"storage": {"region": "mine", "pathStyle": False}}
    run = resolve(finetune(changes), runtime(**PLATFORM), base=BASE, place=POD)
    assert (run.storage.endpoint, run.storage.region, run.storage.path_style) == (
        "http://s3:9000",
        "mine",
        False,
    )


def test_the_runtimes_credentials_never_reach_another_endpoint() -> None:
    changes = {"storage": {"endpoint": "http://elsewhere"}}
    run = resolve(finetune(changes), runtime(**PLATFORM), base=BASE, place=POD)
    assert run.storage.credentials_dir is None
    assert run.storage.region is None


def test_secret_on_a_laptop_leaves_the_standard_chain() -> None:
    run = run_of({"storage": {"secretRef": {"name": "s3"}}})
    assert run.storage.credentials_dir is None
    assert "standard chain" in decision(run, "storage.credentialsDir").reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff", "is not JSON"),
        ("[]", "version is None"),
        ('{"version": "asrtune.dev/runspec/v9"}', "Run it with the version of asrtune that wrote it"),
        ('{"version": "asrtune.dev/runspec/v1alpha1"}', "is malformed"),
    ],
)
def test_unknown_runspec_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(SpecInvalidError, match=words) as caught:
        parse_runspec(text)
    assert caught.value.exit_code == 78
