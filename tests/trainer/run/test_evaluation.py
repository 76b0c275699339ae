"""`asrtune run evaluation.yaml`: models of a real run compared, interrupted, and compared again."""

import copy
import json
import shutil
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asrtune_api.errors import InterruptedRunError, SpecInvalidError
from asrtune_api.scores import read_scores
from asrtune_api.termination import Result, TerminationMessage
from asrtune_trainer.cli.run import resolve_manifest
from asrtune_trainer.data.audio import load_audio
from asrtune_trainer.data.utterance import Utterance, read_utterances
from asrtune_trainer.models.load import load_model
from asrtune_trainer.scoring import error_rate
from asrtune_trainer.stages import contestants
from asrtune_trainer.stages.chain import Chain
from asrtune_trainer.stages.results import result_entries
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.storage import Stores
from asrtune_trainer.telemetry.events import Event, Note, Work
from tools.project import Project, make_project
from tools.report import Page

MODELS: list[dict[str, Any]] = [
    {"name": "base", "uri": "base"},
    {"name": "published", "finetune": {"uri": "out"}},
    {"name": "best", "finetune": {"uri": "out", "stage": "train"}},
]


@dataclass
class Recorder:
    """Keeps every event; may ask for a stop when something is told."""

    events: list[Event] = field(default_factory=list)
    stop: StopSignal = field(default_factory=StopSignal)
    stop_when: Callable[[Event], bool] = lambda _: False

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if self.stop_when(event):
            self.stop.set("the test")

    def decoded(self) -> list[str]:
        """With what was decoded, in order."""
        found = [event.what for event in self.events if isinstance(event, Work) and "decoding" in event.what]
        return list(dict.fromkeys(found))


def told(chain: Chain) -> dict[str, Result]:
    """What the termination message of such a walk has."""
    return result_entries(chain.run, chain.manifests, ran=chain.repeated, taken=(), ended=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run that is finished: nobody writes into it."""
    project = make_project(tmp_path_factory.mktemp("trained") / "project")
    project.stage("train").update(selection={"keep": 3})
    project.write()
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(trained.root, tmp_path / "project")
    return Project(tmp_path / "project", copy.deepcopy(trained.spec))


def walk(evaluation: Project, recorder: Recorder | None = None) -> tuple[Chain, Recorder]:
    """The same in this process, where it can be looked at."""
    recorder = recorder or Recorder()
    run = resolve_manifest(evaluation.manifest, ())
    workspace = Workspace.open(run.output, evaluation.root / "work", Stores())
    chain = Chain(run, workspace, evaluation.root / "work" / "cache", recorder, recorder.stop)
    chain.walk()
    return chain, recorder


def kept_steps(project: Project) -> list[int]:
    paths = (project.output / "stages/train/checkpoints").glob("step-*")
    return sorted(int(path.name.removeprefix("step-")) for path in paths)


def checkpoint(project: Project, step: int) -> dict[str, Any]:
    return {"name": f"step-{step}", "finetune": {"uri": "out", "stage": "train", "step": step}}


def transcribed(base: Path, utterances: Sequence[Utterance], weights: Path | None = None) -> list[str]:
    """Transcripts without stages, batches or caches."""
    model = load_model(base, device=torch.device("cpu"), seed=0)
    if weights is not None:
        model.module.load_state_dict(torch.load(weights, weights_only=True))
    features = [model.sample(load_audio(one.source, model.sample_rate), one).features for one in utterances]
    return [model.decode([one], [""])[0] for one in features]


def paired_interval(first: Sequence[int], second: Sequence[int], lengths: Sequence[int], seed: int) -> Any:
    """The interval of second minus first, drawn by hand: whole utterances, the same for both."""
    draws = np.random.default_rng(seed).integers(len(lengths), size=(100, len(lengths)))
    one, two, length = np.array(first), np.array(second), np.array(lengths)
    change = 100 * (two[draws].sum(axis=1) - one[draws].sum(axis=1)) / length[draws].sum(axis=1)
    return np.percentile(change, [2.5, 97.5])


def test_a_directory_a_published_model_and_a_checkpoint(project: Project) -> None:
    step = kept_steps(project)[-1]
    models = [*MODELS[:2], checkpoint(project, step)]
    evaluation = project.evaluation(
        models,
        baseline="base",
        scoring={"bootstrapSamples": 100},
        humanReference=[{"set": "tones-test", "percent": "20.45"}],
        qualityGate={"criteria": [{"maxIncreasePercent": "-1"}, {"maxPercent": "0"}]},
    )
    log = project.root / "termination.json"
    done = evaluation.run("--termination-log", str(log))
    assert done.returncode == 1, done.stdout + done.stderr

    utterances = list(read_utterances(evaluation.output / "stages/prepare/test/tones-test.jsonl"))
    references = [one.target for one in utterances]
    weights = project.output / f"stages/train/checkpoints/step-{step}/model.pt"
    expected = {
        "base": transcribed(project.root / "base", utterances),
        "published": transcribed(project.output / "model", utterances),
        f"step-{step}": transcribed(project.root / "base", utterances, weights),
    }
    assert len({tuple(texts) for texts in expected.values()}) == 3, "the models differ"
    path = evaluation.output / "stages/evaluate/hypotheses/tones-test.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for name, texts in expected.items():
        assert [line[name] for line in lines] == texts

    results = json.loads((evaluation.output / "stages/evaluate/results.json").read_text("utf-8"))
    (found,) = results["sets"]
    assert (found["baseline"], found["human"]) == ("base", 20.45)
    edits = {name: [line["edits"][name] for line in lines] for name in expected}
    lengths = [len(text) for text in references]
    for name, texts in expected.items():
        assert found["models"][name]["rate"] == pytest.approx(error_rate(references, texts))
        if name != "base":
            low, high = paired_interval(edits["base"], edits[name], lengths, 0)
            ends = found["differences"][name]["interval"]
            assert (-ends["high"], -ends["low"]) == pytest.approx((low, high))

    message = TerminationMessage.decode(log.read_bytes())
    assert message is not None
    rows = {one.model: one for one in read_scores(message.results)}
    assert list(rows) == list(expected)
    assert rows["base"].baseline
    assert rows["base"].difference is None
    change = error_rate(references, expected["published"]) - error_rate(references, expected["base"])
    assert rows["published"].difference == pytest.approx(change, abs=0.005)
    assert message.results["gate/passed"] == "False"

    page = Page((evaluation.output / "stages/evaluate/report/index.html").read_text("utf-8"))
    for shown in ("Evaluation report", "published", f"step-{step}", "People", "20.4", "baseline", "ctc"):
        assert shown in page.text
    assert "Fine-tuned" not in page.text
    assert "quality gate not passed" in done.stdout
    assert all(name in done.stdout for name in expected)

    again = evaluation.run()
    assert "Nothing to do" in again.stdout
    assert again.returncode == 1, "the gate is judged each time"
    evaluation.spec["qualityGate"] = {"criteria": [{"maxPercent": "1000"}]}
    evaluation.write()
    relaxed = evaluation.run()
    assert (relaxed.returncode, "quality gate passed" in relaxed.stdout) == (0, True)
    evaluation.spec["qualityGate"] = {"criteria": [{"maxPercent": "0"}]}
    evaluation.write()
    prepared = evaluation.run("--stop-after", "prepare")
    assert (prepared.returncode, "quality gate not judged" in prepared.stdout) == (0, True)


def test_an_interrupted_evaluation_goes_on_with_the_next_model(project: Project) -> None:
    scoring = {"batchSeconds": 1}  # several batches: the stop comes between two
    evaluation = project.evaluation(MODELS, baseline="base", scoring=scoring)
    second = Recorder(stop_when=lambda event: isinstance(event, Work) and "published" in event.what)
    with pytest.raises(InterruptedRunError):
        walk(evaluation, second)
    chain, recorder = walk(evaluation)
    assert recorder.decoded() == ["decoding with published", "decoding with best"]
    undisturbed, _ = walk(
        project.evaluation(MODELS, baseline="base", scoring=scoring, output={"uri": "other"})
    )
    assert chain.manifests["evaluate"].metrics == undisturbed.manifests["evaluate"].metrics


def test_a_further_model_costs_its_own_decoding_alone(project: Project) -> None:
    walk(project.evaluation(MODELS[:1]))
    chain, recorder = walk(project.evaluation(MODELS[:2], baseline="base"))
    assert recorder.decoded() == ["decoding with published"]
    assert set(chain.manifests["evaluate"].metrics) >= {"cer/tones-test/base", "cer/tones-test/published"}


@pytest.mark.parametrize(
    "changes",
    [
        {"models": MODELS[::-1]},
        {"models": MODELS[:2]},
        {"models": [*MODELS[:2], {**MODELS[2], "name": "other"}]},
        {"baseline": "best"},
        {"humanReference": [{"set": "tones-test", "percent": "5"}]},
        {"scoring": {"ignoreCase": False}},
    ],
    ids=str,
)
def test_results_change_with_what_they_are_of(project: Project, changes: dict[str, Any]) -> None:
    walk(project.evaluation(MODELS, baseline="base"))
    assert walk(project.evaluation(MODELS, baseline="base"))[0].repeated == []
    values = {"models": MODELS, "baseline": "base", **changes}
    assert walk(project.evaluation(**values))[0].repeated == ["evaluate"]


def test_a_gate_changes_no_result(project: Project) -> None:
    walk(project.evaluation(MODELS, baseline="base"))
    gated = project.evaluation(
        MODELS, baseline="base", qualityGate={"criteria": [{"maxPercent": "1000"}], "models": ["best"]}
    )
    chain, _ = walk(gated)
    assert chain.repeated == []
    assert told(chain)["gate/passed"] == "True"


def test_other_weights_are_decoded_anew(project: Project) -> None:
    evaluation = project.evaluation(MODELS, baseline="base")
    before = walk(evaluation)[0].manifests["evaluate"].metrics
    shutil.copy(project.root / "base/model.pt", project.output / "model/model.pt")
    shutil.copy(project.root / "base/am.mvn", project.output / "model/am.mvn")
    chain, recorder = walk(evaluation)
    after = chain.manifests["evaluate"].metrics
    assert recorder.decoded() == ["decoding with published"]
    assert after["cer/tones-test/published"] == after["cer/tones-test/base"]
    assert after["cer/tones-test/best"] == before["cer/tones-test/best"]


def test_one_model_is_in_memory_at_a_time(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.nn.Module]] = []

    def load(*arguments: Any, **options: Any) -> Any:
        assert [one() for one in alive if one() is not None] == []
        model = load_model(*arguments, **options)
        alive.append(weakref.ref(model.module))
        return model

    monkeypatch.setattr(contestants, "load_model", load)
    walk(project.evaluation(MODELS))
    assert len(alive) == 3


@pytest.mark.parametrize(
    ("finetune", "words"),
    [
        ({"uri": "nowhere", "stage": "train"}, "there is no run at"),
        ({"uri": "out", "stage": "trian"}, "the stage trian is not finished"),
        ({"uri": "out", "stage": "evaluate"}, "is of type Evaluate, which makes no model"),
        (
            {"uri": "out", "stage": "train", "step": 999},
            "has no checkpoint of step 999. It kept those of step ",
        ),
        ({"uri": "out", "stage": "average", "step": 3}, "has no checkpoint of step 3. Name a Train stage"),
    ],
)
def test_a_model_that_is_not_there_is_told(project: Project, finetune: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        walk(project.evaluation([{"name": "lost", "finetune": finetune}]))
    assert words in str(caught.value)
    assert caught.value.where == "spec.models[lost].finetune"


def test_a_test_set_that_is_not_there_is_told_by_its_field(project: Project) -> None:
    missing = [{"name": "calls", "uri": "nowhere.jsonl"}]
    with pytest.raises(SpecInvalidError) as caught:
        walk(project.evaluation(MODELS[:1], testSets=missing))
    assert caught.value.where == "spec.testSets[calls].uri"


def test_a_finetune_by_name_is_refused_with_the_remedy(project: Project) -> None:
    done = project.evaluation([{"name": "tuned", "finetune": {"name": "telephone"}}]).run()
    assert done.returncode == 78
    assert "Give the run's output as finetune.uri" in done.stderr + done.stdout


@pytest.mark.parametrize("earlier", [False, True])
def test_a_model_that_does_not_pass_its_gate_is_not_published(project: Project, *, earlier: bool) -> None:
    project.spec["qualityGate"] = {"criteria": [{"maxPercent": "0"}]}
    project.spec["output"] = {"uri": f"gated-{earlier}"}
    shutil.copytree(project.root / "out", project.output)
    if not earlier:
        shutil.rmtree(project.output / "model")
    project.write()
    chain, recorder = walk(project)
    assert (project.output / "model").exists() is earlier, "what was published before stays"
    assert "above the limit of 0 %" in chain.manifests["publish"].details["held"]
    warnings = [one.message for one in recorder.events if isinstance(one, Note) and one.warning]
    assert any("not published" in one for one in warnings)
    assert any("model still holds what an earlier run published" in one for one in warnings) is earlier
    assert told(chain)["gate/passed"] == "False"

    project.spec["qualityGate"] = {"criteria": [{"maxPercent": "1000"}]}
    project.write()
    relaxed, _ = walk(project)
    assert relaxed.repeated == ["publish"]
    assert (project.output / "model/configuration.json").is_file()

    project.spec["qualityGate"] = {"criteria": [{"maxPercent": "0"}], "onFailure": "Report"}
    project.write()
    reported, _ = walk(project)
    assert reported.repeated == []
    assert told(reported)["gate/passed"] == "False"


@pytest.mark.s3
def test_models_that_lie_on_s3(project: Project, s3_server: Any, bucket: str) -> None:
    client = s3_server.client()
    for path in project.output.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), bucket, f"runs/one/{path.relative_to(project.output).as_posix()}")
    shutil.rmtree(project.output)
    uri = f"s3://{bucket}/runs/one"
    models = [
        MODELS[0],
        {"name": "published", "finetune": {"uri": uri}},
        {"name": "mean", "finetune": {"uri": uri, "stage": "average"}},
    ]
    evaluation = project.evaluation(
        models,
        baseline="base",
        output={"uri": f"s3://{bucket}/check"},
        storage={"endpoint": s3_server.endpoint, "region": "us-east-1"},
    )
    environment = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    done = evaluation.run(environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "decoding with mean" in done.stdout
    body = client.get_object(Bucket=bucket, Key="check/stages/evaluate/results.json")["Body"].read()
    (found,) = json.loads(body)["sets"]
    assert found["models"]["published"] == found["models"]["mean"], "what is published is the mean"
    assert found["models"]["published"] != found["models"]["base"]

    shutil.rmtree(project.root / "work")  # another machine
    client.delete_object(Bucket=bucket, Key="check/stages/evaluate/manifest.json")
    again = evaluation.run(environment=environment)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "decoding" not in again.stdout, "transcripts were kept at the output"
    assert json.loads(
        client.get_object(Bucket=bucket, Key="check/stages/evaluate/results.json")["Body"].read()
    )
