import types
import typing

import pytest
from pydantic import ValidationError

from asrtune_api.base import COSMETIC, ApiModel, extra_of
from asrtune_api.finetune import ASRFinetune
from asrtune_api.runspec import RunSpec
from asrtune_api.stages import (
    PARAMS,
    SimulateParams,
    StageOverride,
    StageSpec,
    StageType,
    TrainParams,
    semantic_params,
    stage_params,
)


def models_below(model: type[ApiModel]) -> set[type[ApiModel]]:
    found = {model}
    for field in model.model_fields.values():
        pending: list[object] = [field.annotation]
        while pending:
            kind = pending.pop()
            pending += typing.get_args(kind)
            if isinstance(kind, type) and issubclass(kind, ApiModel) and kind not in found:
                found |= models_below(kind)
    return found


EVERY_MODEL = sorted(models_below(ASRFinetune) | models_below(RunSpec), key=lambda model: model.__name__)


def train(**params: object) -> StageSpec:
    return StageSpec.model_validate({"name": "train", "type": "Train", "train": params})


def test_every_stage_type_has_its_parameters_under_a_key_of_its_own() -> None:
    assert set(PARAMS) == set(StageType)
    for key, model in PARAMS.values():
        assert model in typing.get_args(StageOverride.model_fields[key].annotation)


@pytest.mark.parametrize(
    "change",
    [{"workers": 7}, {"logEverySteps": 1}, {"featureCacheMiB": 0}],
)
def test_cosmetic_parameter_is_no_part_of_the_fingerprint(change: dict[str, object]) -> None:
    assert semantic_params(train(**change)) == semantic_params(train())
    assert train(**change) != train()


@pytest.mark.parametrize(
    "change",
    [{"learningRate": "1e-4"}, {"batch": {"size": 100}}, {"freeze": ["encoder"]}, {"maxSteps": 3}],
)
def test_other_parameter_is_part_of_the_fingerprint(change: dict[str, object]) -> None:
    assert semantic_params(train(**change)) != semantic_params(train())


def test_fingerprint_does_not_tell_a_default_from_the_same_value_said() -> None:
    assert semantic_params(train(epochs=10)) == semantic_params(train())


def test_cosmetic_fields_are_those_and_no_others() -> None:
    marked = {
        f"{kind}.{name}"
        for kind, (_, model) in PARAMS.items()
        for name, field in model.model_fields.items()
        if extra_of(field, COSMETIC)
    }
    assert marked == {
        "Prepare.workers",
        "Simulate.workers",
        "Train.workers",
        "Train.log_every_steps",
        "Train.feature_cache_mib",
    }


def test_stage_without_parameters_has_the_defaults_and_says_nothing() -> None:
    params = stage_params(StageSpec.model_validate({"name": "train", "type": "Train"}))
    assert params == TrainParams()
    assert params.model_fields_set == set()


def test_stage_is_written_without_the_keys_of_other_types() -> None:
    assert set(train().model_dump(mode="json")) == {"name", "type", "train"}


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda model: model.__name__)
def test_null_is_as_good_as_absent(model: type[ApiModel]) -> None:
    """Which needs that no optional field has another default than None."""
    for name, field in model.model_fields.items():
        arguments = typing.get_args(field.annotation)
        if types.NoneType in arguments:
            assert field.default is None, f"{model.__name__}.{name}"


def test_null_in_a_file_is_not_said() -> None:
    assert train(maxSteps=None).train.model_fields_set == set()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"learningRate": 0.001}, 'write "0.001" in quotes'),
        ({"learningRate": 1}, 'write "1" in quotes'),
        ({"learningRate": True}, "must be a decimal number"),
        ({"learningRate": "abc"}, '"abc" is not a decimal number'),
        ({"learningRate": "1e-3\n"}, "is not a decimal number"),
        ({"learningRate": "1e999"}, "too large"),
        ({"learningRate": "0." + "0" * 40 + "1"}, "longer than 32 characters"),
        ({"learningRate": "0"}, "greater than 0"),
        ({"epochs": "10"}, "valid integer"),
        ({"epochs": 10.0}, "valid integer"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"batch": {"size": True}}, "valid integer"),
    ],
)
def test_value_that_the_api_server_would_refuse_is_refused(params: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        train(**params)


def test_half_a_range_is_not_judged_by_the_default_of_the_other_half() -> None:
    """A preset may raise the other half; only the merged values count."""
    assert SimulateParams.model_validate({"snrDbMin": "30"}).snr_db_max == 25
