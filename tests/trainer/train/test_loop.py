"""The loop on tiny models of each family: it learns, repeats itself exactly, and skips what is not finite."""

import json
import re
from pathlib import Path

import pytest
import torch

from asrtune_api.errors import DataInvalidError, DivergedError, InterruptedRunError, SpecInvalidError
from asrtune_trainer.data.utterance import read_utterances
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import Stores
from asrtune_trainer.telemetry.events import Checkpointed, TrainStep, Validated, Work
from asrtune_trainer.train.checkpoint import TrainingState, random_state, to_cpu
from asrtune_trainer.train.gang import Gang
from asrtune_trainer.train.job import TrainJob
from asrtune_trainer.train.loop import resume
from asrtune_trainer.train.meter import Meter
from asrtune_trainer.train.progress import Progress
from asrtune_trainer.train.setup import set_up
from tools.training import Recorder, final_weights, make_job, same, train_here


class StopAtStep(StopSignal):
    """Asks to stop after so many steps; `spare` looks are let pass: the next is in the validation.

    A step is in the history only when it has been asked.
    """

    def __init__(self, job: TrainJob, step: int, spare: int = 0) -> None:
        super().__init__()
        self.history = job.directory / "history.jsonl"
        self.step = step
        self.spare = spare

    def __bool__(self) -> bool:
        if not self.history.exists() or self.history.read_text().count('"TrainStep"') < self.step - 1:
            return False
        self.spare -= 1
        self.cause = "a test"
        return self.spare < 0


@pytest.mark.parametrize("family", ["ctc", "paraformer", "sensevoice"])
def test_it_learns_and_repeats_itself(family, tmp_path):
    losses, weights = [], []
    for attempt in ("one", "two"):
        root = tmp_path / attempt
        root.mkdir()
        job = make_job(root, family=family)
        summary, recorder = train_here(job)
        losses.append([event.loss for event in recorder.of(TrainStep)])
        weights.append(final_weights(job, summary))
        assert len(recorder.of(Validated)) == 3
        assert recorder.of(Checkpointed)
    assert losses[0] == losses[1]
    assert same(*weights)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("family", ["ctc", "paraformer", "sensevoice"])
@pytest.mark.parametrize(("step", "spare"), [(2, 0), (5, 0), (5, 1), (10, 2)])  # epochs have 5 steps
def test_stopped_and_resumed_is_as_undisturbed(family, step, spare, tmp_path):
    changes = {"encoder_conf": {"dropout_rate": 0.1}}  # so that random state matters
    whole = tmp_path / "whole"
    whole.mkdir()
    job = make_job(whole, family=family, model_changes=changes)
    summary, recorder = train_here(job)

    parts = tmp_path / "parts"
    parts.mkdir()
    again = make_job(parts, family=family, model_changes=changes)
    with pytest.raises(InterruptedRunError, match=f"after step {step};"):
        train_here(again, StopAtStep(again, step, spare))
    resumed, rest = train_here(again)
    assert resumed == summary
    assert same(final_weights(job, summary), final_weights(again, resumed))
    assert [event.loss for event in rest.of(TrainStep)] == [
        event.loss for event in recorder.of(TrainStep)[step:]
    ]
    history = (again.directory / "history.jsonl").read_text().count('"TrainStep"')
    assert history == summary.steps


def test_a_stop_where_a_validation_is_due_only_puts_it_off(tmp_path):
    validations = []
    for name in ("whole", "parts"):
        root = tmp_path / name
        root.mkdir()
        job = make_job(root, validation={"everySteps": 2, "decodeUtterances": 4})
        if name == "parts":
            with pytest.raises(InterruptedRunError, match="after step 4;"):
                train_here(job, StopAtStep(job, 4))
        summary, _ = train_here(job)
        history = map(json.loads, (job.directory / "history.jsonl").read_text().splitlines())
        validations.append([(one["step"], one["cer"]) for one in history if one["event"] == "Validated"])
        validations.append(summary)
    assert validations[:2] == validations[2:]


@pytest.mark.parametrize("harm", [False, True])
def test_what_was_trained_to_the_end_is_not_trained_again(harm, tmp_path):
    job = make_job(tmp_path)
    summary, _ = train_here(job)
    weights = final_weights(job, summary)
    if harm:
        (job.directory / summary.checkpoints[0]).write_bytes(b"x")
    again, recorder = train_here(job)  # as after a kill before the stage's manifest was written
    assert again == summary
    assert bool(recorder.of(TrainStep)) is harm
    assert same(weights, final_weights(job, again))


def test_accumulating_is_a_larger_batch(tmp_path):
    job = make_job(tmp_path, accumulate=3, epochs=1)
    summary, recorder = train_here(job)
    groups = len(recorder.of(TrainStep))
    assert summary.steps == groups
    plain = make_job(tmp_path, epochs=1).model_copy(update={"directory": tmp_path / "plain"})
    plain.directory.mkdir()
    assert train_here(plain)[0].steps > 2 * summary.steps


def test_maximum_steps(tmp_path):
    summary, recorder = train_here(make_job(tmp_path, maxSteps=5))
    assert summary.steps == 5
    assert recorder.of(Validated)[-1].step == 5


@pytest.mark.parametrize("every", [None, 3])
def test_every_line_names_the_epoch_of_its_last_step(every, tmp_path):
    validation = {"decodeUtterances": 0} | ({"everySteps": every} if every else {})
    _, recorder = train_here(make_job(tmp_path, logEverySteps=2, validation=validation))
    told = recorder.of(TrainStep) + recorder.of(Validated)
    assert {one.step for one in told} >= {2, 4, 15}
    assert [one.epoch for one in told] == [(one.step + 4) // 5 for one in told]  # epochs have 5 steps


def test_the_first_step_is_told_however_rare_the_log_lines_are(tmp_path):
    _, recorder = train_here(make_job(tmp_path, logEverySteps=1000))
    assert [one.step for one in recorder.of(TrainStep)] == [1, 5, 10, 15]  # and each validation's


@pytest.mark.parametrize(("seconds", "told"), [(90, [1, 2, 3, 4, 5]), (40, [1, 3, 5]), (1, [1, 5])])
def test_slow_steps_are_told_before_their_log_line_is_due(seconds, told, tmp_path, monkeypatch):
    since = 0

    def age(meter):
        nonlocal since
        since += 1
        return since * seconds

    def read(meter):
        nonlocal since
        since = 0
        return whole(meter)

    whole = Meter.read
    monkeypatch.setattr(Meter, "age", age)
    monkeypatch.setattr(Meter, "read", read)
    _, recorder = train_here(make_job(tmp_path, logEverySteps=1000, epochs=1))
    assert [one.step for one in recorder.of(TrainStep)] == told


def test_a_long_validation_tells_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("asrtune_trainer.train.reporter.LONG_SECONDS", 0.0)
    monkeypatch.setattr("asrtune_trainer.train.reporter.BETWEEN_SECONDS", 0.0)
    _, recorder = train_here(make_job(tmp_path, epochs=1))
    (total,) = {one.total for one in recorder.of(Work)}
    assert [one.done for one in recorder.of(Work)] == list(range(1, total + 1))
    assert total >= 2  # losses and transcripts


def test_a_short_validation_says_nothing_on_the_way(tmp_path):
    assert not train_here(make_job(tmp_path, epochs=1))[1].of(Work)


def test_patience_ends_early(tmp_path):
    job = make_job(tmp_path, epochs=20, learningRate="1e-15", selection={"patience": 2, "keep": 1})
    summary, _ = train_here(job)
    assert summary.epochs == 3


def test_frozen_parts_stay_bit_identical(tmp_path):
    job = make_job(tmp_path, freeze=["encoder"])
    summary, _ = train_here(job)
    base = torch.load(job.model / "model.pt", weights_only=True)["state_dict"]
    after = final_weights(job, summary)
    changed = {name for name in base if not torch.equal(base[name], after[name])}
    assert changed
    assert all(name.startswith("ctc.") for name in changed)


def test_freezing_everything_is_refused(tmp_path):
    with pytest.raises(SpecInvalidError, match="nothing is left to train"):
        train_here(make_job(tmp_path, freeze=["encoder", "ctc"]))


def test_steps_that_are_not_finite_are_skipped_and_limited(tmp_path):
    job = make_job(tmp_path, epochs=1)
    weights = torch.load(job.model / "model.pt", weights_only=True)
    weights["state_dict"]["encoder.after_norm.weight"].fill_(float("nan"))
    torch.save(weights, job.model / "model.pt")
    with pytest.raises(DivergedError, match="not finite"):
        train_here(
            job.model_copy(update={"params": job.params.model_copy(update={"non_finite_allowance": 2})})
        )


@pytest.mark.parametrize("rate", ["1e6", "0.002"])
def test_a_short_run_that_learnt_nothing_has_diverged(rate, tmp_path):
    job = make_job(
        tmp_path, epochs=1, learningRate=rate, warmupSteps=0
    )  # 5 steps: fewer than are allowed to fail
    if rate != "1e6":
        weights = torch.load(job.model / "model.pt", weights_only=True)
        weights["state_dict"]["encoder.after_norm.weight"].fill_(float("nan"))
        torch.save(weights, job.model / "model.pt")
    for _ in range(2):  # the same command again finds the same
        with pytest.raises(DivergedError, match=r"[45] of 5 steps|validation loss") as told:
            train_here(job)
        assert "learningRate" in told.value.remedy
        assert told.value.where == "step 5"


def test_a_batch_smaller_than_the_longest_utterance_is_told_with_the_number(tmp_path):
    with pytest.raises(SpecInvalidError, match="the largest needs") as told:
        train_here(make_job(tmp_path, batch={"size": 60}))
    assert told.value.where == "stages.train.batch.size"


def test_no_training_data_is_told(tmp_path):
    job = make_job(tmp_path)
    job.train.write_text("")
    with pytest.raises(DataInvalidError, match="no training utterance"):
        train_here(job)


@pytest.mark.parametrize("workers", [0, 1])
def test_audio_that_went_away_is_told(workers, tmp_path):
    job = make_job(tmp_path, workers=workers, featureCacheMiB=0)
    lost = list(read_utterances(job.train))[-1]
    Path(lost.source).unlink()
    with pytest.raises(DataInvalidError, match=re.escape(lost.key)):
        train_here(job)


def test_workers_and_cache_do_not_change_the_result(tmp_path):
    job = make_job(tmp_path, epochs=1)
    cached, _ = train_here(job)
    first = final_weights(job, cached)
    other = make_job(tmp_path, epochs=1, workers=2, featureCacheMiB=0)
    other = other.model_copy(update={"directory": tmp_path / "workers"})
    other.directory.mkdir()
    loaded, _ = train_here(other)
    assert same(first, final_weights(other, loaded))


def test_a_checkpoint_of_another_device_does_not_choose_fused_steps(tmp_path):
    job = make_job(tmp_path, epochs=1)
    ready = set_up(
        job,
        Gang(0, 1, torch.device("cpu")),
        Recorder(),
        Mirror(Stores(), job.directory, job.stage_uri),
        StopSignal(),
    )
    optimizer = to_cpu(ready.trainer.optimizer.state_dict())
    optimizer["param_groups"][0]["fused"] = True
    state = TrainingState(
        weights=ready.trainer.model.module.state_dict(),
        optimizer={"optimizer": optimizer, "scaler": {}},
        ranks=[random_state()],
        progress=Progress(step=3),
    )
    resume(ready.trainer, state)
    ready.checkpoints.close()
    assert ready.trainer.optimizer.param_groups[0]["fused"] is None
    assert ready.trainer.progress.step == 3
