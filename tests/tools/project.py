"""A user's project with a tiny model: lists, audio, a manifest, and `asrtune run` as its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asrtune_trainer.data.utterance import Utterance
from tools.tiny_models import make_corpus, make_tiny_model

CHAIN = ("Prepare", "Train", "Average", "Evaluate", "Export", "Publish")


@dataclass(frozen=True)
class Project:
    """A directory with a manifest."""

    root: Path
    spec: dict[str, Any]
    kind: str = "ASRFinetune"

    @property
    def manifest(self) -> Path:
        return self.root / ("finetune.yaml" if self.kind == "ASRFinetune" else "evaluation.yaml")

    @property
    def output(self) -> Path:
        return self.root / str(self.spec["output"]["uri"])

    def evaluation(self, models: list[dict[str, Any]], **spec: Any) -> Project:
        """An evaluation of the project's test sets beside it."""
        values = {"models": models, "testSets": self.spec["data"]["test"], "output": {"uri": "check"}}
        found = Project(self.root, {**values, **spec}, "ASREvaluation")
        found.write()
        return found

    def stage(self, name: str) -> dict[str, Any]:
        """A stage's parameters in the manifest, to change them; `write` afterwards."""
        stage = next(stage for stage in self.spec["stages"] if stage["name"] == name)
        parameters: dict[str, Any] = stage.setdefault(name, {})
        return parameters

    def write(self) -> None:
        document = {
            "apiVersion": "asrtune.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": "tiny"},
            "spec": self.spec,
        }
        self.manifest.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`asrtune run` in a process of its own."""
        command = [
            sys.executable,
            "-c",
            "from asrtune_trainer.cli import main; main()",
            "run",
            str(self.manifest),
        ]
        return subprocess.Popen(
            [*command, "--workdir", str(self.root / "work"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )

    def run(
        self, *arguments: str, timeout: float = 240, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`asrtune run` to its end."""
        process = self.start(*arguments, environment=environment)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def write_list(path: Path, utterances: list[Utterance]) -> Path:
    """A list as users have it, with paths relative to it."""
    lines = [
        {
            "key": one.key.replace("/", "-"),
            "source": os.path.relpath(one.source, path.parent),
            "target": one.target,
        }
        for one in utterances
    ]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


def make_project(
    root: Path,
    *,
    family: str = "ctc",
    utterances: int = 24,
    chain: tuple[str, ...] = CHAIN,
    model_changes: dict[str, Any] | None = None,
) -> Project:
    """A project whose chain takes seconds."""
    root.mkdir(parents=True, exist_ok=True)
    make_tiny_model(family, root / "base", **(model_changes or {}))
    corpus = make_corpus(root / "audio", utterances + 10)
    write_list(root / "train.jsonl", corpus[:utterances])
    write_list(root / "validation.jsonl", corpus[utterances : utterances + 5])
    write_list(root / "test.jsonl", corpus[utterances + 5 :])
    spec: dict[str, Any] = {
        "model": {"uri": "base"},
        "data": {
            "train": [{"name": "tones", "uri": "train.jsonl"}],
            "validation": [{"name": "held-out", "uri": "validation.jsonl"}],
            "test": [{"name": "tones-test", "uri": "test.jsonl"}],
        },
        "stages": [{"name": kind.lower(), "type": kind} for kind in chain],
        "checkpoint": {"everySteps": 3},
        "output": {"uri": "out"},
    }
    project = Project(root, spec)
    project.stage("prepare").update(workers=1)
    project.stage("train").update(
        epochs=3,
        learningRate="0.002",
        batch={"unit": "Frames", "size": 600},
        workers=0,
        logEverySteps=1,
        validation={"decodeUtterances": 4},
        selection={"keep": 2},
    )
    if "Evaluate" in chain:
        project.stage("evaluate").update(bootstrapSamples=100)
    if "Export" in chain:
        project.stage("export").update(verifyUtterances=0)
    project.write()
    return project
