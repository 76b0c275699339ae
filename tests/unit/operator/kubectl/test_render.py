"""`kubectl asrtune render`: the console script without a cluster."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from typer.testing import CliRunner, Result

from asrtune_operator.kubectl.main import app
from tools.gangs import CHAIN, S3
from tools.manifests import chain, manifest

IMAGE = "registry.example/trainer:1"
GANG = {"resources": {"nodes": 2, "gpusPerNode": 8, "memory": "200Gi"}}
RUNTIME = {
    "apiVersion": "asrtune.dev/v1alpha1",
    "kind": "ClusterASRRuntime",
    "metadata": {"name": "h200"},
    "spec": {"image": "registry.example/platform:2", "backend": "PyTorchJob", "queueName": "gpu"},
}
EVALUATION = {
    "apiVersion": "asrtune.dev/v1alpha1",
    "kind": "ASREvaluation",
    "metadata": {"name": "weekly"},
    "spec": {
        "models": [
            {"name": "tuned", "uri": "s3://speech/tuned"},
            {"name": "base", "uri": "s3://speech/base"},
        ],
        "baseline": "base",
        "testSets": [{"name": "calls", "uri": "s3://speech/test.jsonl"}],
        "output": {"uri": "s3://speech/evals/one"},
        "resources": {"gpus": 1},
    },
}


def finetune(**changes: Any) -> dict[str, Any]:
    return manifest(chain(stages=copy.deepcopy(CHAIN)) | S3 | GANG | changes)


def render(tmp_path: Path, *documents: dict[str, Any], options: tuple[str, ...] = ()) -> Result:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return CliRunner().invoke(app, ["render", str(file), "--image", IMAGE, *options])


def kinds(result: Result) -> list[tuple[str, str]]:
    assert result.exit_code == 0, result.stderr
    return [(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(result.stdout)]


def test_objects(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    result = render(tmp_path, finetune(), options=("-n", "speech"))
    assert kinds(result) == snapshot(name="objects")
    assert "\n".join(line.rstrip() for line in result.stderr.splitlines()) == snapshot(name="why")


@pytest.mark.parametrize("backend", ["Job", "PyTorchJob", "TrainJob", "JobSet"])
def test_backends(tmp_path: Path, backend: str) -> None:
    result = render(tmp_path, finetune(), options=("--stage", "train", "--backend", backend))
    assert kinds(result)[-1] == (backend, "demo-train-1")
    assert f"execution.backend is {backend}" in " ".join(result.stderr.split())


def test_one_stage_and_its_config_map(tmp_path: Path) -> None:
    made = kinds(render(tmp_path, finetune(), options=("--stage", "prepare")))
    assert [kind for kind, _ in made] == ["ConfigMap", "Job"]


def test_a_runtime_in_the_same_file_or_another(tmp_path: Path) -> None:
    run = finetune(runtimeRef={"name": "h200"})
    other = tmp_path / "runtime.yaml"
    other.write_text(yaml.safe_dump(RUNTIME))
    here = render(tmp_path, RUNTIME, run)
    there = render(tmp_path, run, options=("--runtime", str(other)))
    assert here.stdout == there.stdout
    assert ("PyTorchJob", "demo-train-1") in kinds(there)
    said = " ".join(there.stderr.split())
    assert "ClusterASRRuntime h200, image registry.example/platform:2, queue gpu" in said
    assert "ClusterASRRuntime h200 says PyTorchJob" in said


def test_an_evaluation_as_json(tmp_path: Path) -> None:
    result = render(tmp_path, EVALUATION, options=("-o", "json", "--backend", "JobSet"))
    assert result.exit_code == 0, result.stderr
    items = json.loads(result.stdout)["items"]
    assert [one["kind"] for one in items] == ["ConfigMap", "Job", "Job"]
    assert items[-1]["metadata"]["name"] == "weekly-evaluate-ff1175-1"


@pytest.mark.parametrize(
    ("documents", "options", "words"),
    [
        ([], (), "holds no run."),
        ([RUNTIME], (), "holds no run."),
        ([finetune(), {"kind": "Secret"}], ("--stage", "trian"), 'Did you mean "train"?'),
        ([finetune(runtimeRef={"name": "h200"})], (), "ClusterASRRuntime h200 stands in no file."),
        ([finetune() | {"metadata": {}}], (), "metadata.name is missing"),
        ([finetune() | {"metadata": {"name": "Big"}}], (), "use lower-case letters"),
        ([finetune(**{"stages.1.train": {"epochs": 0}})], (), "spec.stages[train].train.epochs"),
        ([finetune(**{"output.uri": "runs/demo"})], (), "means nothing on a cluster"),
        ([finetune()], ("--runtime", "/no/such.yaml"), "/no/such.yaml: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_rendered(
    tmp_path: Path, documents: list[dict[str, Any]], options: tuple[str, ...], words: str
) -> None:
    result = render(tmp_path, *documents, options=options)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_an_unknown_backend_is_a_wrong_command_line(tmp_path: Path) -> None:
    assert render(tmp_path, finetune(), options=("--backend", "Auto")).exit_code == 2
