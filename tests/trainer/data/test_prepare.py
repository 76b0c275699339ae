"""Prepare on real files, through its own processes."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asrtune_api.errors import DataInvalidError, ExitCode, InterruptedRunError, SpecInvalidError
from asrtune_api.stages import PrepareParams
from asrtune_trainer.data.reasons import REMEDIES, Reason
from asrtune_trainer.data.utterance import read_utterances
from asrtune_trainer.stages.base import StageContext, StageResult
from asrtune_trainer.stages.prepare import PrepareStage
from asrtune_trainer.telemetry.events import Note, Work
from tools.broken_data import KINDS, BrokenData, make_broken_data
from tools.speech import write_speech
from tools.stages import Recorder, data_spec, read_jsonl, stage_context

WriteList = Callable[..., Path]


def prepare(context: StageContext) -> StageResult:
    return PrepareStage().run(context)


def context_for(root: Path, data: BrokenData, percent: int = 5, **params: Any) -> StageContext:
    spec = data_spec([data.train], data.validation, data.test, percent)
    return stage_context(root, PrepareParams(**params), spec)


def events(context: StageContext, kind: type) -> list[Any]:
    assert isinstance(context.telemetry, Recorder)
    return [event for event in context.telemetry.events if isinstance(event, kind)]


def test_one_percent_broken_finishes_and_lists_each(tmp_path: Path) -> None:
    data = make_broken_data(tmp_path / "data", lines=900, percent=1, files=30)
    context = context_for(tmp_path / "run", data, workers=2)
    result = prepare(context)

    rejects = read_jsonl(context.directory / result.outputs["rejects"])
    assert {one["line"]: one["reason"] for one in rejects} == data.broken
    assert {one["reason"] for one in rejects} == {reason for reason, _ in KINDS}
    assert all(one["file"] == str(data.train) and one["set"] == "train/train" for one in rejects)
    assert all(one["remedy"] == REMEDIES[one["reason"]] and one["detail"] for one in rejects)
    assert [one["line"] for one in rejects] == sorted(data.broken)

    used = list(read_utterances(context.directory / result.outputs["train"]))
    assert len(used) + len(rejects) == data.lines
    assert len({one.key for one in used}) == len(used)
    statistics = json.loads((context.directory / result.outputs["statistics"]).read_text())["sets"][
        "train/train"
    ]
    assert statistics["lines"] == data.lines
    assert statistics["utterances"] == len(used)
    assert statistics["rejectedByReason"] == Counter(data.broken.values())
    assert statistics["hours"] == pytest.approx(sum(one.seconds for one in used) / 3600, abs=1e-6)
    last = events(context, Work)[-1]
    assert (last.done, last.part, last.parts) == (last.total, 2, 2)


def test_half_broken_stops_at_once_with_65(tmp_path: Path) -> None:
    data = make_broken_data(tmp_path / "data", lines=900, percent=50, files=30)
    context = context_for(tmp_path / "run", data, workers=2)
    with pytest.raises(DataInvalidError) as caught:
        prepare(context)
    error = caught.value
    assert error.exit_code is ExitCode.DATA_INVALID
    assert error.reason == "TooManyRejected"
    assert "train/train: at least" in error.message
    assert "of 900 lines" in error.message
    assert "45 may be" in error.message
    assert error.where == str(data.train)
    path = context.directory / "rejects.jsonl"
    assert str(path) in error.remedy
    assert "maxRejectedPercent" in error.remedy
    rejects = read_jsonl(path)
    assert all(data.broken[one["line"]] == one["reason"] for one in rejects)
    assert f"at least {len(rejects)} of" in error.message
    assert len(rejects) > 45
    assert not (context.directory / "train.jsonl").exists()


def test_broken_end_of_a_long_list_is_found_from_the_sample(tmp_path: Path, write_list: WriteList) -> None:
    path = write_list("train", 20)
    good = path.read_text()
    bad = json.dumps({"source": "nowhere.wav", "target": "x"}) + "\n"
    path.write_text(good.replace('"key": ', '"other": ') * 1000 + bad * 20_000)
    context = stage_context(
        tmp_path / "run", PrepareParams(workers=1), data_spec([path], write_list("validation", 2, 50))
    )
    with pytest.raises(DataInvalidError, match=r"a random 1000 were listened to"):
        prepare(context)
    assert max(event.done for event in events(context, Work)) == 1002  # with the two of validation


def test_a_few_too_many_are_found_in_the_end(tmp_path: Path) -> None:
    data = make_broken_data(tmp_path / "data", lines=100, percent=6, files=20)
    context = context_for(tmp_path / "run", data, workers=1)
    with pytest.raises(DataInvalidError, match=r"at least 6 of 100 lines are unusable, 5 may be"):
        prepare(context)
    result = prepare(context_for(tmp_path / "run", data, percent=6, workers=1))
    assert result.metrics["rejected"] == 6


def test_the_first_misspelt_file_is_named(tmp_path: Path, write_list: WriteList) -> None:
    path = write_list("train", 6)
    path.write_text(path.read_text().replace("/2.wav", "/2.wva").replace("/4.wav", "/4.wva"))
    context = stage_context(
        tmp_path / "run", PrepareParams(workers=1), data_spec([path], write_list("validation", 2, 50))
    )
    with pytest.raises(DataInvalidError) as told:
        prepare(context)
    first = read_jsonl(context.directory / "rejects.jsonl")[0]
    assert f"Line {first['line']}: there is no {path.parent}/train/2.wva." in told.value.message
    assert first["remedy"] in told.value.message
    assert str(context.directory / "rejects.jsonl") in told.value.remedy


def test_lines_that_are_left_out_are_warned_of(tmp_path: Path) -> None:
    data = make_broken_data(tmp_path / "data", lines=200, percent=3, files=10)
    context = context_for(tmp_path / "run", data, workers=1)
    prepare(context)
    (note,) = (one for one in events(context, Note) if one.warning)
    counts = Counter(data.broken.values()).most_common(4)
    assert note.message.startswith("6 lines were not used (")
    assert note.message.endswith(f", …): {context.directory}/rejects.jsonl")
    assert all(f"{reason} {number}" in note.message for reason, number in counts)


def test_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    data = make_broken_data(tmp_path / "data", lines=300, percent=4, files=30)
    written = []
    for workers in (1, 3):
        context = context_for(tmp_path / f"run{workers}", data, workers=workers)
        prepare(context)
        names = ["train.jsonl", "validation.jsonl", "test/test.jsonl", "rejects.jsonl", "statistics.json"]
        written.append([(context.directory / name).read_bytes() for name in names])
    assert written[0] == written[1]


def test_inputs_change_with_list_and_audio(tmp_path: Path, write_list: WriteList) -> None:
    train, other = write_list("train", 3), write_list("validation", 2, 50)
    context = stage_context(tmp_path / "run", PrepareParams(), data_spec([train], other))
    before = PrepareStage().inputs(context)
    assert before.keys() == {"train/train", "validation/validation", "maxRejectedPercent"}
    assert PrepareStage().inputs(context) == before
    write_speech(train.parent / "train" / "1.wav", 0.7, 99)
    changed = PrepareStage().inputs(context)
    assert changed["train/train"] != before["train/train"]
    assert changed["validation/validation"] == before["validation/validation"]
    train.write_text(train.read_text() + "\n")
    assert PrepareStage().inputs(context)["train/train"] != changed["train/train"]
    (train.parent / "train" / "2.wav").unlink()
    assert PrepareStage().inputs(context)["train/train"] not in {
        before["train/train"],
        changed["train/train"],
    }


def test_other_audio_of_the_same_length_changes_the_statistics(tmp_path: Path, write_list: WriteList) -> None:
    train, other = write_list("train", 3), write_list("validation", 2, 50)
    digests = set()
    for seed in (1, 99):
        write_speech(train.parent / "train" / "1.wav", 0.6, seed)
        context = stage_context(tmp_path / "run", PrepareParams(), data_spec([train], other))
        digests.add(prepare(context).details["sets"]["train/train"]["audioDigest"])
    assert len(digests) == 2


def test_shared_recordings_are_warned_of(tmp_path: Path, write_list: WriteList) -> None:
    train, validation = write_list("train", 5), write_list("validation", 3, 50, speaker_id="s")
    test = write_list("test", 4, 2, speaker_id="s")  # recordings 2, 3, 4 are those of train
    context = stage_context(tmp_path / "run", PrepareParams(), data_spec([train], validation, test))
    result = prepare(context)
    shared = {(one["shared"], one["heldOut"], one["repeatedIn"]): one for one in result.details["overlap"]}
    assert shared["audio", "test/test", "train/train"]["utterances"] == 3
    assert shared["audio", "test/test", "train/train"]["examples"][0] == ["test/test0", "train/train2"]
    assert shared["text", "test/test", "train/train"]["utterances"] == 4
    assert shared["speaker", "test/test", "validation/validation"]["utterances"] == 3
    (note,) = events(context, Note)
    assert note.warning
    assert note.message.startswith("3 recordings of test/test are also in train/train, such as test/test0")


def test_sources_of_a_split_share_a_list_and_keep_their_names(tmp_path: Path, write_list: WriteList) -> None:
    lists = [write_list("old", 2), write_list("new", 3, 20)]
    context = stage_context(
        tmp_path / "run", PrepareParams(), data_spec(lists, write_list("validation", 2, 50))
    )
    result = prepare(context)
    utterances = list(read_utterances(context.directory / result.outputs["train"]))
    assert [one.set for one in utterances] == ["old"] * 2 + ["new"] * 3
    assert utterances[0].key == "old/old0"
    assert utterances[0].source == str(lists[0].parent / "old" / "0.wav")
    assert (utterances[0].seconds, utterances[0].source_len, utterances[0].target_len) == (0.6, 60, 5)


def test_a_stop_ends_it_soon(tmp_path: Path, write_list: WriteList) -> None:
    context = stage_context(
        tmp_path / "run",
        PrepareParams(),
        data_spec([write_list("train", 5)], write_list("validation", 2, 50)),
    )
    context.stop.set("SIGTERM")
    with pytest.raises(InterruptedRunError):
        prepare(context)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the list is empty"),
        (b"\n\r\n  \n", "the list is empty"),
        ('{"source": "a"}'.encode("utf-16"), "UTF-16"),
        ('{"source": "a"}'.encode("utf-16-le"), "UTF-16"),
        (b"\x1f\x8b\x08\0abc", "UTF-16 or binary"),
        (b"\x1f\x8b\x08\x08abc", "compressed"),
    ],
)
def test_a_file_that_is_no_list(tmp_path: Path, write_list: WriteList, content: bytes, message: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    context = stage_context(tmp_path / "run", PrepareParams(), data_spec([path], write_list("validation", 2)))
    with pytest.raises(DataInvalidError, match=message) as caught:
        prepare(context)
    assert str(path) in caught.value.where
    assert caught.value.remedy


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_no_list_at_all_is_the_specs_fault(tmp_path: Path, write_list: WriteList, kind: str) -> None:
    path = tmp_path / "train.jsonl"
    if kind == "directory":
        path.mkdir()
    context = stage_context(tmp_path / "run", PrepareParams(), data_spec([path], write_list("validation", 2)))
    with pytest.raises(SpecInvalidError) as caught:
        PrepareStage().inputs(context)
    assert caught.value.where == "spec.data.train[train].uri"
    assert caught.value.reason == "ListMissing"


def test_a_split_without_a_usable_line_is_refused(tmp_path: Path, write_list: WriteList) -> None:
    empty = tmp_path / "data" / "empty.jsonl"
    validation = write_list("validation", 2)
    empty.write_text('{"source": "nowhere.wav", "target": "x"}\n')
    context = stage_context(tmp_path / "run", PrepareParams(), data_spec([empty], validation, percent=100))
    with pytest.raises(DataInvalidError, match="no usable utterance is left for train"):
        prepare(context)
    assert len(read_jsonl(context.directory / "rejects.jsonl")) == 1


GOOD = {"source": "good.wav", "target": "好"}
parts = st.lists(
    st.one_of(
        st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")),
        st.sampled_from([b"", b" ", json.dumps(GOOD).encode(), json.dumps(GOOD | {"key": "same"}).encode()]),
        st.fixed_dictionaries(
            {"source": st.sampled_from(["good.wav", "text.wav", "none.wav", "", "s3:/x", "ftp://h/a"])},
            optional={"target": st.text(max_size=3), "key": st.sampled_from(["a", "b"]) | st.integers(0, 2)},
        ).map(lambda fields: json.dumps(fields).encode()),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts)
def test_whatever_a_list_holds_its_lines_add_up(
    tmp_path: Path, write_list: WriteList, lines: list[bytes]
) -> None:
    validation = write_list("validation", 1)
    write_speech(validation.parent / "good.wav", 1.0)
    (validation.parent / "text.wav").write_text("text")
    path = validation.parent / "train.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in [json.dumps(GOOD).encode(), *lines]))
    context = stage_context(tmp_path / "run", PrepareParams(), data_spec([path], validation, percent=100))
    result = prepare(context)
    found = result.details["sets"]["train/train"]
    rejects = read_jsonl(context.directory / "rejects.jsonl")
    used = list(read_utterances(context.directory / "train.jsonl"))
    assert found["lines"] == len(lines) + 1
    assert found["lines"] == len(used) + len(rejects) + found["blank"]
    assert all(Reason(one["reason"]) for one in rejects)
    assert len({one["line"] for one in rejects}) == len(rejects)


def test_parameters_matter(tmp_path: Path, write_list: WriteList) -> None:
    train = write_list("train", 3)
    train.write_text(train.read_text().replace("第 1 句", "第 1 句[laughter]"))
    spec = data_spec([train], write_list("validation", 2, 50))
    kept = stage_context(tmp_path / "a", PrepareParams(remove_event_tags=False), spec)
    prepare(kept)
    assert [one.target for one in read_utterances(kept.directory / "train.jsonl")][1] == "第 1 句[laughter]"
    short = stage_context(
        tmp_path / "b",
        PrepareParams(min_milliseconds=700),
        spec.model_copy(update={"max_rejected_percent": 100}),
    )
    with pytest.raises(DataInvalidError, match="no usable"):
        prepare(short)
    reasons = {one["reason"] for one in read_jsonl(short.directory / "rejects.jsonl")}
    assert reasons == {"TooShort"}
