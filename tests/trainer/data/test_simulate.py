"""Simulate on what Prepare left, through its own processes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asrtune_api.errors import DataInvalidError, InterruptedRunError, SpecInvalidError
from asrtune_api.finetune import DataSpec
from asrtune_api.stages import PrepareParams, SimulateParams, StageSpec, StageType
from asrtune_trainer.data.audio import load_audio
from asrtune_trainer.data.utterance import Utterance, read_utterances
from asrtune_trainer.stages.base import Finished, StageContext
from asrtune_trainer.stages.prepare import PrepareStage
from asrtune_trainer.stages.simulate import SimulateStage
from tools.speech import write_speech
from tools.stages import data_spec, finished, stage_context

WriteList = Callable[..., Path]


@pytest.fixture
def spec(write_list: WriteList) -> DataSpec:
    """Two training sources (old: 4, new: 6 utterances), 3 for validation."""
    return data_spec([write_list("old", 4), write_list("new", 6, 20)], write_list("validation", 3, 50))


@pytest.fixture
def prepared(tmp_path: Path, spec: DataSpec) -> dict[str, Finished]:
    context = stage_context(tmp_path / "run", PrepareParams(), spec)
    return {"prepare": finished(context, PrepareStage().run(context))}


def simulate(
    root: Path,
    spec: DataSpec,
    upstream: Mapping[str, Finished],
    *,
    seed: int = 0,
    name: str = "simulate",
    **params: Any,
) -> StageContext:
    context = stage_context(root, SimulateParams(**params), spec, upstream=upstream, seed=seed, name=name)
    SimulateStage().run(context)
    return context


def lists(context: StageContext) -> tuple[list[Utterance], list[Utterance]]:
    train, validation = (
        list(read_utterances(context.directory / f"{s}.jsonl")) for s in ("train", "validation")
    )
    return train, validation


def audio(context: StageContext) -> dict[str, bytes]:
    root = context.directory / "audio"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.flac")}


def test_every_utterance_gets_a_telephone_version(
    tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]
) -> None:
    context = simulate(tmp_path / "run", spec, prepared, copies=2)
    train, validation = lists(context)
    assert [one.key for one in train[:3]] == ["old/old0#tel1", "old/old0#tel2", "old/old1#tel1"]
    assert (len(train), len(validation)) == (20, 3)
    assert [one.set for one in train] == ["old"] * 8 + ["new"] * 12
    for one in [*train, *validation]:
        info = soundfile.info(one.source)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (16_000, 1, "FLAC", "PCM_16")
        assert info.frames / 16_000 == pytest.approx(one.seconds)
        assert one.source_len == 60
        spectrum = np.abs(np.fft.rfft(load_audio(one.source))) ** 2
        above = spectrum[len(spectrum) // 2 :].sum() / spectrum.sum()
        assert above < 1e-3  # nothing over 4 kHz
    assert train[0].target == "第 0 句"


def test_copies_differ_and_originals_can_stay(
    tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]
) -> None:
    context = simulate(tmp_path / "run", spec, prepared, copies=2, keep_original=True)
    train, validation = lists(context)
    assert len(train) == 10 + 20
    assert [one.key for one in validation] == [f"validation/validation{n}#tel1" for n in range(3)]
    assert train[0].key == "old/old0"
    assert len(set(audio(context).values())) == 23


def test_sources_that_are_not_named_pass_through(
    tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]
) -> None:
    before = {one.key: one for one in read_utterances(prepared["prepare"].path("train"))}
    context = simulate(tmp_path / "run", spec, prepared, sources=["new"], splits=["Train"])
    train, validation = lists(context)
    assert [one for one in train if one.set == "old"] == [one for one in before.values() if one.set == "old"]
    assert all(one.key.endswith("#tel1") for one in train if one.set == "new")
    assert [one.key for one in validation] == [
        "validation/validation0",
        "validation/validation1",
        "validation/validation2",
    ]
    assert not (context.directory / "audio" / "validation").exists()


def test_same_seed_gives_the_same_bytes_with_any_number_of_processes(
    tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]
) -> None:
    params = {"copies": 6, "noises": ["White", "Pink", "Babble"], "speed_percents": [90, 100, 110]}
    one, three, other = (
        simulate(tmp_path / name, spec, prepared, seed=seed, workers=workers, **params)
        for name, seed, workers in (("a", 0, 1), ("b", 0, 3), ("c", 1, 1))
    )
    assert audio(one) == audio(three)
    assert (one.directory / "train.jsonl").read_bytes() == (three.directory / "train.jsonl").read_bytes()
    assert not set(audio(one).values()) & set(audio(other).values())


def test_validation_keeps_its_speed(tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]) -> None:
    train, validation = lists(simulate(tmp_path / "run", spec, prepared, speed_percents=[80]))
    assert {one.source_len for one in train} == {75}
    assert {one.source_len for one in validation} == {60}


def test_files_that_an_interrupted_attempt_finished_are_kept(
    tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]
) -> None:
    context = simulate(tmp_path / "run", spec, prepared)
    whole, listed = audio(context), (context.directory / "train.jsonl").read_bytes()
    names = sorted(whole)
    (context.directory / "audio" / names[0]).unlink()
    marks = {name: (context.directory / "audio" / name).stat().st_ino for name in names[1:]}
    (context.directory / "train.jsonl").unlink()
    again = simulate(tmp_path / "run", spec, prepared)
    assert audio(again) == whole
    assert {name: (again.directory / "audio" / name).stat().st_ino for name in names[1:]} == marks
    assert (again.directory / "train.jsonl").read_bytes() == listed


def test_twice_in_a_row_and_the_second_list_stands_alone(
    tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]
) -> None:
    root = tmp_path / "run"
    first = simulate(root, spec, prepared, sources=["old"], splits=["Train"])
    outputs = {"train": "train.jsonl", "validation": "validation.jsonl"}
    made = Finished("simulate", "Simulate", first.directory, outputs, {}, {}, "0")
    second = simulate(root, spec, {"simulate": made}, sources=["new"], name="again")
    train, _ = lists(second)
    first.directory.rename(tmp_path / "gone")
    assert [one.key.count("#tel") for one in train] == [1] * 10
    assert all(len(load_audio(one.source)) for one in train)
    moved = second.directory.rename(tmp_path / "moved")
    old = [one for one in read_utterances(moved / "train.jsonl") if one.set == "old"]
    assert all(Path(one.source).is_relative_to(moved) for one in old)
    assert all(len(load_audio(one.source)) for one in old)


def test_details_tell_what_was_drawn(tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]) -> None:
    context = stage_context(
        tmp_path / "run",
        SimulateParams(copies=20, snr_db_min="5", snr_db_max="6"),
        spec,
        upstream=prepared,  # type: ignore[arg-type]
    )
    result = SimulateStage().run(context)
    train = result.details["train"]
    assert train["files"] == 200
    assert sum(train["codecs"].values()) == sum(train["noises"].values()) == 200
    assert 5 <= train["snrDb"]["lowest"] < train["snrDb"]["mean"] < train["snrDb"]["highest"] <= 6
    assert result.metrics["simulatedHours"] == pytest.approx((200 + 3) * 0.6 / 3600, rel=1e-3)


def test_unknown_source_is_the_specs_fault(
    tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]
) -> None:
    with pytest.raises(SpecInvalidError, match="no training or validation source nope") as caught:
        simulate(tmp_path / "run", spec, prepared, sources=["old", "nope"])
    assert caught.value.where == "spec.stages[simulate].simulate.sources"
    assert "new, old, validation" in caught.value.remedy


def test_audio_that_vanished_is_named(tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]) -> None:
    gone = next(iter(read_utterances(prepared["prepare"].path("train")))).source
    Path(gone).unlink()
    with pytest.raises(DataInvalidError) as caught:
        simulate(tmp_path / "run", spec, prepared, workers=2, copies=10)
    assert caught.value.where == gone
    write_speech(Path(gone), 0.6)


def test_it_reads_the_last_stage_with_lists() -> None:
    chain = [
        StageSpec(name=name, type=kind)
        for name, kind in (("p", "Prepare"), ("s", "Simulate"), ("t", "Train"))
    ]
    me = StageSpec(name="me", type=StageType.SIMULATE)
    assert SimulateStage().reads(me, chain) == ["s"]
    with pytest.raises(SpecInvalidError):
        SimulateStage().reads(me, chain[2:])


def test_a_stop_ends_it_soon(tmp_path: Path, spec: DataSpec, prepared: dict[str, Finished]) -> None:
    context = stage_context(tmp_path / "run", SimulateParams(), spec, upstream=prepared)
    context.stop.set("SIGTERM")
    with pytest.raises(InterruptedRunError):
        SimulateStage().run(context)
