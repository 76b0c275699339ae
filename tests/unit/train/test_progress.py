"""Which checkpoints are the best, and when patience ends."""

import math

from asrtune_api.stages import Metric, SelectionParams
from asrtune_trainer.train.progress import Judged, Progress


def judged(*cers: float | None) -> Progress:
    return Progress(
        judged=[
            Judged(step=10 * place, epoch=place, loss=1 / place, accuracy=place / 10, cer=cer)
            for place, cer in enumerate(cers, start=1)
        ]
    )


def test_best_by_cer_prefers_the_later_of_equals():
    best = judged(30, 20, 25, 20).best(SelectionParams(keep=3))
    assert [one.step for one in best] == [40, 20, 30]


def test_metrics():
    progress = judged(10, 20, 30)
    assert progress.best(SelectionParams(metric=Metric.CER))[0].step == 10
    assert progress.best(SelectionParams(metric=Metric.LOSS))[0].step == 30
    assert progress.best(SelectionParams(metric=Metric.ACCURACY))[0].step == 30


def test_without_a_cer_the_loss_decides():
    assert judged(None, None).best(SelectionParams(metric=Metric.CER))[0].step == 20


def test_patience_counts_validations_without_a_new_best():
    selection = SelectionParams(patience=2)
    assert not judged(30, 20, 25).out_of_patience(selection)
    assert judged(30, 20, 25, 21).out_of_patience(selection)
    assert not judged(30, 20, 25, 19).out_of_patience(selection)
    assert not judged(30, 20, 25, 21).out_of_patience(SelectionParams())
    assert judged(30, 20, 20, 20).out_of_patience(selection)


def test_what_is_not_finite_is_never_the_best():
    progress = judged(None, None, None)
    progress.judged[2].loss = float("nan")
    selection = SelectionParams(metric=Metric.LOSS, patience=2)
    assert [one.step for one in progress.best(selection)] == [20, 10, 30]
    progress.judged[0].loss = float("nan")
    assert progress.best(selection)[0].step == 20
    assert not progress.out_of_patience(selection)


def test_a_model_whose_loss_is_no_number_is_not_the_best_for_its_empty_transcripts():
    progress = judged(80)
    progress.judged[0].loss = float("nan")
    selection = SelectionParams(metric=Metric.CER)
    assert not progress.is_best(selection)
    progress.judged.append(Judged(step=20, epoch=2, loss=9.0, accuracy=None, cer=100))
    assert progress.is_best(selection)


def test_an_impossible_utterance_in_the_validation_set_does_not_matter_to_the_cer():
    progress = judged(30, 20)
    for one in progress.judged:
        one.loss = float("inf")
    assert progress.is_best(SelectionParams(metric=Metric.CER))


def test_a_loss_that_is_not_finite_survives_a_checkpoint():
    progress = judged(None, None)
    progress.judged[0].loss, progress.judged[1].loss = float("nan"), float("inf")
    back = Progress.model_validate_json(progress.model_dump_json())
    assert math.isnan(back.judged[0].loss)
    assert math.isinf(back.judged[1].loss)
