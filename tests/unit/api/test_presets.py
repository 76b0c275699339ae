import pytest

from asrtune_api.errors import SpecInvalidError
from asrtune_api.preset import load_preset, preset_names
from asrtune_api.stages import PrepareParams, SimulateParams, StageType, TrainParams, stage_params

CHAIN = ["prepare", "train", "average", "evaluate", "export", "publish"]


def train(preset: str) -> TrainParams:
    (params,) = [p for s in load_preset(preset).stages if isinstance(p := stage_params(s), TrainParams)]
    return params


def test_presets() -> None:
    assert preset_names() == ["dysarthric-paraformer", "general-16k", "telephone-8k"]


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_named_like_its_file_and_runs_the_whole_chain(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    chain = [stage.name for stage in preset.stages]
    assert chain == (["prepare", "simulate", *CHAIN[1:]] if name == "telephone-8k" else CHAIN)
    assert [stage.type for stage in preset.stages] == [StageType(stage.capitalize()) for stage in chain]


@pytest.mark.parametrize("name", preset_names())
def test_longest_utterance_fits_into_a_batch(name: str) -> None:
    """Else the preset rejects by itself what it has just let through. 10 ms a frame, a token for each 60 ms."""
    (prepare,) = [p for s in load_preset(name).stages if isinstance(p := stage_params(s), PrepareParams)]
    frames = prepare.max_milliseconds // 10
    assert frames + frames // 6 <= train(name).batch.size


def test_telephone_values() -> None:
    """The users' own recipe: lr 5e-5, weight decay 0.01, 20 epochs, batch 4096; 300-3400 Hz, SNR 15-25 dB."""
    params = train("telephone-8k")
    assert (params.learning_rate, params.weight_decay, params.epochs, params.batch.size) == (
        5e-5,
        0.01,
        20,
        4096,
    )
    (simulate,) = [
        p for s in load_preset("telephone-8k").stages if isinstance(p := stage_params(s), SimulateParams)
    ]
    assert (simulate.low_hz, simulate.high_hz, simulate.snr_db_min, simulate.snr_db_max) == (
        300,
        3400,
        15,
        25,
    )


def test_general_trains_as_telephone_does() -> None:
    assert train("general-16k") == train("telephone-8k")


def test_dysarthric_values() -> None:
    """Batch 6000, lr 2e-4, 50 epochs, validated and saved every 2000 steps, 10 best kept and averaged."""
    params = train("dysarthric-paraformer")
    assert (params.learning_rate, params.epochs, params.warmup_steps, params.batch.size) == (
        2e-4,
        50,
        1000,
        6000,
    )
    assert (
        params.validation.every_steps == load_preset("dysarthric-paraformer").checkpoint.every_steps == 2000
    )
    assert params.selection.keep == 10


def test_unknown_preset_names_all() -> None:
    with pytest.raises(SpecInvalidError, match='there is no preset "telefone-8k"') as caught:
        load_preset("telefone-8k")
    assert 'Did you mean "telephone-8k"?' in caught.value.remedy
    assert all(name in caught.value.remedy for name in preset_names())
    assert caught.value.reason == "PresetUnknown"


@pytest.mark.parametrize("name", ["../presets/general-16k", "", "general-16k.yaml"])
def test_preset_name_is_no_path(name: str) -> None:
    with pytest.raises(SpecInvalidError):
        load_preset(name)
