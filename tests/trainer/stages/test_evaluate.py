"""Evaluate on real tiny models and real files."""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.errors import DataInvalidError, InterruptedRunError, SpecInvalidError
from asrtune_api.finetune import CheckpointPolicy, DataSource, ModelRef, TestSource, TrainSource
from asrtune_api.runspec import Gang, RunData, RunSpec, RunStorage
from asrtune_api.runspec import Telemetry as TelemetrySpec
from asrtune_api.stages import ErrorUnit, EvaluateParams, PrepareParams, StageSpec, StageType, TrainParams
from asrtune_trainer.data.audio import load_audio
from asrtune_trainer.data.utterance import Utterance, write_utterances
from asrtune_trainer.models.load import load_model
from asrtune_trainer.scoring import error_rate
from asrtune_trainer.stages.base import Finished, StageContext
from asrtune_trainer.stages.decode import length_batches
from asrtune_trainer.stages.evaluate import EvaluateStage
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import Stores
from asrtune_trainer.telemetry.events import Event, Note, Scored, Work
from tools.report import Page, set_statistics, train_step, validated
from tools.tiny_models import make_corpus, make_tiny_model

PREPARE = StageSpec(name="prepare", type=StageType.PREPARE, prepare=PrepareParams())
TRAIN = StageSpec(name="train", type=StageType.TRAIN, train=TrainParams())


@dataclass
class Recorder:
    """Keeps every event; may ask for a stop after some."""

    events: list[Event] = field(default_factory=list)
    stop: StopSignal = field(default_factory=StopSignal)
    stop_after: int | None = None

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if self.stop_after is not None and len(self.events) >= self.stop_after:
            self.stop.set("the test")

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass(frozen=True)
class World:
    """A base model, a fine-tuned one, and a corpus."""

    root: Path
    base: Path
    tuned: Path
    utterances: list[Utterance]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("evaluate")
    base = make_tiny_model("ctc", root / "base", seed=1)
    other = make_tiny_model("ctc", root / "other", seed=2)
    shutil.copy(base / "am.mvn", other)  # fine-tuning changes weights, not the front end
    (root / "train").mkdir()
    torch.save(torch.load(other / "model.pt", weights_only=True)["state_dict"], root / "train" / "model.pt")
    return World(root, base, other, make_corpus(root / "audio", 12))


def run_spec(world: World, evaluate: StageSpec, output: Path) -> RunSpec:
    source = DataSource(name="tiny", uri="/nowhere.jsonl")
    data = RunData(
        train=[TrainSource(name="tiny", uri="/nowhere.jsonl")],
        validation=[source],
        test=[
            TestSource(name="near", uri="/near.jsonl"),
            TestSource(name="old", uri="/old.jsonl", retention=True),
        ],
    )
    return RunSpec(
        name="tiny",
        seed=3,
        output=str(output),
        model=ModelRef(uri=str(world.base)),
        data=data,
        storage=RunStorage(),
        checkpoint=CheckpointPolicy(),
        gang=Gang(),
        telemetry=TelemetrySpec(),
        stages=[PREPARE, TRAIN, evaluate],
    )


def prepared(directory: Path, **lists: Sequence[Utterance]) -> Finished:
    directory.mkdir(parents=True, exist_ok=True)
    outputs = {}
    for role, utterances in lists.items():
        path = role.replace("test_", "test/")
        outputs[path] = f"{role}.jsonl"
        write_utterances(directory / f"{role}.jsonl", utterances)
    return Finished("prepare", "Prepare", directory, outputs, {}, {}, "digest")


def trained(world: World) -> Finished:
    return Finished("train", "Train", world.root / "train", {"model": "model.pt"}, {}, {}, "digest")


def context(
    world: World, directory: Path, upstream: Sequence[Finished], recorder: Recorder, **params: object
) -> StageContext:
    stage = StageSpec(
        name="evaluate", type=StageType.EVALUATE, evaluate=EvaluateParams(batch_seconds=3, **params)
    )
    stores = Stores()
    directory.mkdir(parents=True, exist_ok=True)
    return StageContext(
        run=run_spec(world, stage, directory),
        stage=stage,
        directory=directory,
        uri=str(directory),
        scratch=world.root / "scratch",
        upstream={one.name: one for one in upstream},
        stores=stores,
        mirror=Mirror(stores, directory, str(directory)),
        telemetry=recorder,
        stop=recorder.stop,
    )


def one_by_one(model: Path, utterances: Sequence[Utterance]) -> list[str]:
    """The same transcripts without batches, threads or stages."""
    loaded = load_model(model, device=torch.device("cpu"), seed=0)
    return [
        loaded.decode(
            [loaded.sample(load_audio(one.source, loaded.sample_rate), one).features], [one.language]
        )[0]
        for one in utterances
    ]


def test_scores_both_models_on_every_set(world: World, tmp_path: Path) -> None:
    near, old = world.utterances[:8], world.utterances[8:]
    upstream = [prepared(tmp_path / "prepare", test_near=near, test_old=old), trained(world)]
    recorder = Recorder()
    result = EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, recorder))

    for name, utterances in (("near", near), ("old", old)):
        references = [one.target for one in utterances]
        lines = [
            json.loads(line)
            for line in (tmp_path / f"evaluate/hypotheses/{name}.jsonl").open(encoding="utf-8")
        ]
        assert [line["key"] for line in lines] == [one.key for one in utterances]
        for model, directory in (("base", world.base), ("finetuned", world.tuned)):
            expected = one_by_one(directory, utterances)
            assert [line[model] for line in lines] == expected
            rate = error_rate(references, expected)
            assert result.metrics[f"cer/{name}/{model}"] == pytest.approx(rate)
            assert (
                result.metrics[f"cer/{name}/{model}/low"]
                <= rate
                <= result.metrics[f"cer/{name}/{model}/high"]
            )
    document = json.loads((tmp_path / "evaluate/results.json").read_text(encoding="utf-8"))
    assert [(one["name"], one["retention"], one["utterances"]) for one in document["sets"]] == [
        ("near", False, 8),
        ("old", True, 4),
    ]
    assert document["sets"][0]["differences"]["finetuned"]["gain"] == pytest.approx(
        result.metrics["cer/near/base"] - result.metrics["cer/near/finetuned"]
    )
    assert [one.message for one in recorder.of(Note) if one.warning] == [
        f"the test set {name} has {number} utterances: nothing can be proved with it; 20 are the least"
        for name, number in (("near", 8), ("old", 4))
    ]
    scored = {(event.set, event.model): event for event in recorder.of(Scored)}
    assert scored["old", "finetuned"].retention
    assert scored["near", "base"].cer == result.metrics["cer/near/base"]
    work = recorder.of(Work)
    assert [(work[-1].done, work[-1].total, work[-1].part, work[-1].parts)] == [(12, 12, 2, 2)]


def test_the_report_shows_what_the_stages_left(world: World, tmp_path: Path) -> None:
    statistics = {"sets": {"test/near": set_statistics(speakers=77)}, "overlap": []}
    data = prepared(tmp_path / "prepare", test_near=world.utterances)
    (data.directory / "statistics.json").write_text(json.dumps(statistics))
    reject = {
        "set": "train/tiny",
        "line": 5,
        "reason": "FileMissing",
        "detail": "gone",
        "remedy": "Look for it.",
    }
    (data.directory / "rejects.jsonl").write_text(f"{json.dumps(reject)}\n" * 4)
    outputs = {**data.outputs, "statistics": "statistics.json", "rejects": "rejects.jsonl"}
    data = replace(data, outputs=outputs)
    model = replace(trained(world), outputs={"model": "model.pt", "history": "history.jsonl"})
    events = [{"event": "TrainStep", **train_step(9)}, {"event": "Validated", **validated(9, cer=12.25)}]
    (model.directory / "history.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    result = EvaluateStage().run(
        context(world, tmp_path / "evaluate", [data, model], Recorder(), worst_utterances=3)
    )
    page = Page((tmp_path / "evaluate" / result.outputs["report"]).read_text(encoding="utf-8"))
    assert page.count("article") == page.count("audio") == 3
    for shown in ("77", "FileMissing", "Look for it.", "and 1 more in rejects.jsonl", "12.2", "base (ctc)"):
        assert shown in page.text


def test_the_order_of_a_list_changes_nothing(world: World, tmp_path: Path) -> None:
    shuffled = random.Random(4).sample(world.utterances, len(world.utterances))
    found = []
    for name, utterances in (("a", world.utterances), ("b", shuffled)):
        upstream = [prepared(tmp_path / name / "prepare", test_near=utterances), trained(world)]
        EvaluateStage().run(context(world, tmp_path / name / "evaluate", upstream, Recorder()))
        lines = (tmp_path / name / "evaluate/hypotheses/near.jsonl").read_text(encoding="utf-8").splitlines()
        found.append(sorted(lines))
    assert found[0] == found[1]


def test_without_test_sets_it_scores_the_validation_set_and_says_so(world: World, tmp_path: Path) -> None:
    recorder = Recorder()
    upstream = [prepared(tmp_path / "prepare", validation=world.utterances[:3]), trained(world)]
    result = EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, recorder))
    assert "cer/validation/finetuned" in result.metrics
    assert any(note.warning and "no test set" in note.message for note in recorder.of(Note))


def test_without_training_it_scores_the_base_alone(world: World, tmp_path: Path) -> None:
    upstream = [prepared(tmp_path / "prepare", test_near=world.utterances[:3])]
    result = EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, Recorder(), baseline=False))
    assert set(result.metrics) == {"cer/near/base", "cer/near/base/low", "cer/near/base/high"}


def test_words_are_told_as_words(world: World, tmp_path: Path) -> None:
    recorder = Recorder()
    upstream = [prepared(tmp_path / "prepare", test_near=world.utterances[:3])]
    params = {"baseline": False, "unit": ErrorUnit.WORD}
    result = EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, recorder, **params))
    assert set(result.metrics) == {"wer/near/base", "wer/near/base/low", "wer/near/base/high"}
    assert [one.metric for one in recorder.of(Scored)] == ["WER"]


def test_the_seed_of_the_intervals_is_an_input(world: World, tmp_path: Path) -> None:
    one = context(world, tmp_path, [], Recorder())
    other = replace(one, run=one.run.model_copy(update={"seed": 4}))
    assert EvaluateStage().inputs(one) != EvaluateStage().inputs(other)


def test_baseline_can_be_left_out(world: World, tmp_path: Path) -> None:
    upstream = [prepared(tmp_path / "prepare", test_near=world.utterances[:3]), trained(world)]
    result = EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, Recorder(), baseline=False))
    assert {name for name in result.metrics if name.count("/") == 2} == {"cer/near/finetuned"}


def test_an_empty_test_set_is_no_accident(world: World, tmp_path: Path) -> None:
    upstream = [prepared(tmp_path / "prepare", test_near=[]), trained(world)]
    result = EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, Recorder()))
    assert result.metrics["cer/near/finetuned"] == 0.0


def test_a_stop_keeps_what_is_decoded(world: World, tmp_path: Path) -> None:
    upstream = [prepared(tmp_path / "prepare", test_near=world.utterances), trained(world)]
    batches = len(length_batches(world.utterances, 3))
    stopping = Recorder(stop_after=batches + 1)
    with pytest.raises(InterruptedRunError):
        EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, stopping))
    again = Recorder()
    result = EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, again))
    assert {work.part for work in again.of(Work)} == {2}
    undisturbed = EvaluateStage().run(context(world, tmp_path / "other", upstream, Recorder()))
    assert result.metrics == undisturbed.metrics


def test_audio_that_vanished_is_named(world: World, tmp_path: Path) -> None:
    gone = replace(world.utterances[1], source=str(tmp_path / "gone.wav"))
    upstream = [prepared(tmp_path / "prepare", test_near=[world.utterances[0], gone])]
    with pytest.raises(DataInvalidError, match=r"tiny/0001.*Prepare"):
        EvaluateStage().run(context(world, tmp_path / "evaluate", upstream, Recorder()))


def test_it_needs_prepared_data() -> None:
    stage = StageSpec(name="evaluate", type=StageType.EVALUATE, evaluate=EvaluateParams())
    assert EvaluateStage().reads(stage, [PREPARE, TRAIN]) == ["prepare", "train"]
    with pytest.raises(SpecInvalidError, match="Prepare"):
        EvaluateStage().reads(stage, [TRAIN])


@given(st.lists(st.floats(0.1, 70), max_size=40), st.integers(1, 60))
def test_batches_hold_every_utterance_once_within_the_limit(lengths: list[float], limit: int) -> None:
    utterances = [Utterance(str(i), "", "", length, 1, 1, "s") for i, length in enumerate(lengths)]
    batches = length_batches(utterances, limit)
    assert sorted(one.key for batch in batches for one in batch) == sorted(one.key for one in utterances)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(one.seconds for one in batch) <= limit
    assert length_batches(utterances[::-1], limit) == batches
