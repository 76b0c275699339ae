"""From custom resources to runs: every value decided, or the reason why not; never an exception."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrtune_api.policy import Backend
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.state.objects import RunObject, RuntimeObject, run_object
from asrtune_operator.understand.intake import Surroundings, digest_of, parse, understand
from asrtune_operator.values.observed import WaitReason
from asrtune_operator.values.run import Run, Unready
from tools.gangs import CHAIN, S3
from tools.manifests import chain, manifest
from tools.objects import custom_resource

SERVED = frozenset(one.resource for one in BACKENDS.values())
IMAGE = "registry.example/trainer:1"
EVALUATION: dict[str, Any] = {
    "models": [{"name": "tuned", "finetune": {"name": "demo"}}, {"name": "base", "uri": "s3://speech/base"}],
    "baseline": "base",
    "testSets": [{"name": "calls", "uri": "s3://speech/test.jsonl"}],
    "output": {"uri": "s3://speech/evals/one"},
}


def finetune(changes: dict[str, Any] | None = None, **more: Any) -> RunObject:
    spec = manifest(chain(stages=CHAIN) | S3 | (changes or {}))["spec"]
    return run_object(custom_resource(spec, **more))


def evaluation(**changes: Any) -> RunObject:
    return run_object(
        custom_resource(EVALUATION | changes, kind="ASREvaluation", name="weekly", uid="eval-1")
    )


def runtime(spec: dict[str, Any], kind: str = "ClusterASRRuntime") -> RuntimeObject:
    return RuntimeObject(kind=kind, namespace="", name="default", uid="rt", version="1", spec=spec)


def understood(run: RunObject, **around: Any) -> Run | Unready:
    parsed = parse(run)
    if isinstance(parsed, Unready):
        return parsed
    given = {"runtime": None, "served": SERVED, "image": IMAGE} | around
    return understand(run, parsed, Surroundings(**given))


def ready(run: RunObject, **around: Any) -> Run:
    found = understood(run, **around)
    assert isinstance(found, Run), found
    return found


def unready(run: RunObject, **around: Any) -> Unready:
    found = understood(run, **around)
    assert isinstance(found, Unready)
    return found


def test_a_run_without_a_runtime_gets_the_operators_image_and_an_empty_half() -> None:
    run = ready(finetune())
    assert run.image == IMAGE
    assert run.runtime.gpu_resource == "nvidia.com/gpu"
    assert [unit.key for unit in run.units] == ["prepare", "train", "evaluate", "publish"]
    assert run.spec.decisions == []
    assert run.spec.telemetry.port == 9400


def test_what_the_manifest_says_goes_before_the_runtime() -> None:
    platform = runtime(
        {"image": "own:2", "backend": "JobSet", "queueName": "shared", "gpuPricePerHour": "2.5"}
    )
    run = ready(finetune(), runtime=platform)
    assert (run.image, run.backend, run.queue) == ("own:2", Backend.JOB_SET, "shared")
    run = ready(finetune({"execution.backend": "PyTorchJob", "queueName": "mine"}), runtime=platform)
    assert (run.backend, run.queue) == (Backend.PYTORCH_JOB, "mine")


@pytest.mark.parametrize(
    ("storage", "secret"),
    [
        ({}, "platform"),
        ({"storage.secretRef": {"name": "mine"}}, "mine"),
        ({"storage.endpoint": "https://elsewhere.example"}, None),
    ],
    ids=["the-runtimes", "ones-own", "never-to-another-endpoint"],
)
def test_whose_secret(storage: dict[str, Any], secret: str | None) -> None:
    platform = runtime({"storage": {"endpoint": "https://s3.example", "secretRef": {"name": "platform"}}})
    run = ready(finetune(storage), runtime=platform)
    assert run.secret == secret
    assert (run.spec.storage.credentials_dir is not None) == (secret is not None)


def test_a_named_runtime_that_is_missing_is_waited_for() -> None:
    named = finetune(
        {"runtimeRef": {"name": "gpu", "kind": "ASRRuntime"}, "runPolicy.startDeadlineSeconds": 60}
    )
    found = unready(named)
    assert found.wait is not None
    assert found.wait.reason is WaitReason.RUNTIME_NOT_FOUND
    assert "ASRRuntime gpu in namespace speech" in found.wait.message
    assert "There are no ASRRuntimes." in found.wait.message
    assert found.start_deadline_seconds == 60
    assert 'Did you mean "gpus"?' in unready(named, runtimes=["gpus", "spot"]).wait.message
    of_the_cluster = unready(finetune({"runtimeRef": {"name": "gpu"}}))
    assert "one that serves single namespaces never does" in of_the_cluster.wait.message


def test_a_backend_that_is_not_installed_is_waited_for() -> None:
    asked = finetune({"execution.backend": "TrainJob"})
    found = unready(asked, served=frozenset())
    assert found.wait is not None
    assert found.wait.reason is WaitReason.BACKEND_UNAVAILABLE


def test_what_the_crd_lets_through_and_the_models_refuse_is_told() -> None:
    found = unready(finetune({"model": {"uri": "https://host/model"}}))
    assert found.wait is None
    assert "spec.model" in found.problem
    assert "s3://" in found.problem


def test_what_only_resolving_finds_is_told_with_its_remedy() -> None:
    found = unready(finetune({"model": {"uri": "base"}}))
    assert "spec.model.uri" in found.problem
    found = unready(finetune({"recipe": {"preset": "telefone-8k"}, "stages": None}))
    assert "telefone-8k" in found.problem
    assert "telephone-8k" in found.remedy


def test_a_wrong_runtime_is_named() -> None:
    found = unready(finetune(), runtime=runtime({"gpuPricePerHour": 3}))
    assert "ClusterASRRuntime default" in found.problem
    assert "gpuPricePerHour" in found.problem


def test_an_evaluation_waits_for_its_finetune_and_then_for_its_model() -> None:
    found = unready(evaluation())
    assert found.wait is not None
    assert found.wait.reason is WaitReason.MODEL_NOT_READY
    assert "there is no ASRFinetune demo" in found.wait.message
    found = unready(evaluation(), finetunes={"demo": finetune()})
    assert found.wait is not None
    assert "has not finished" in found.wait.message


def test_an_evaluation_of_a_finished_finetune_is_a_job_of_one_pod() -> None:
    published = {"name": "publish", "type": "Publish", "state": "Succeeded"}
    made = finetune(status={"stages": [published]})
    run = ready(evaluation(resources={"gpus": 1, "memory": "8Gi"}), finetunes={"demo": made})
    assert run.backend is Backend.JOB
    assert [(unit.key, unit.nodes, unit.gpus) for unit in run.units] == [
        ("prepare", 1, 0),
        ("evaluate", 1, 1),
    ]
    assert run.resources.memory == "8Gi"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"suspend": True}, True),
        ({"runPolicy.maxRetries": 9}, True),
        ({"seed": 0}, True),
        ({"seed": 1}, False),
        ({"resources.gpusPerNode": 2}, False),
    ],
    ids=["suspend", "policy", "default-written-out", "seed", "gpus"],
)
def test_what_starts_a_run_again(changes: dict[str, Any], same: bool) -> None:
    digests = [digest_of(parse(finetune(one))) for one in ({}, changes)]  # type: ignore[arg-type]
    assert (digests[0] == digests[1]) is same


def test_a_run_under_way_keeps_its_runspec_whatever_the_runtime_says_now() -> None:
    first = ready(finetune())
    later = ready(
        finetune(), runtime=runtime({"image": "new:3", "telemetry": {"port": 1234}}), kept=first.document
    )
    assert later.spec_name == first.spec_name
    assert later.spec.telemetry.port == 9400
    assert later.image == "new:3"  # how it is carried out may change


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_manifest_raises(data: st.DataObject) -> None:
    spec = copy.deepcopy(dict(finetune().spec))
    for _ in range(data.draw(st.integers(1, 3))):
        here: Any = spec
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(here[key], dict | list) and here[key] and data.draw(st.booleans()):
                here = here[key]
                continue
            here[key] = data.draw(JUNK)
            break
    found = understood(run_object(custom_resource(spec)))
    assert isinstance(found, Run) or found.problem or found.wait
