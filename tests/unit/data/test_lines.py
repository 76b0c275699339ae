import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.data import lines as lines_module
from asrtune_trainer.data.cache import resolve_source
from asrtune_trainer.data.lines import Ready, SourceList, survey
from asrtune_trainer.data.reader import Blank, Reject
from asrtune_trainer.data.reasons import Reason


def source_of(path: Path, uri: str = "") -> SourceList:
    return SourceList("train", "a", uri or str(path), path, remove_event_tags=True)


def write(path: Path, keys: list[str]) -> SourceList:
    path.write_text(
        "".join(json.dumps({"key": key, "source": "a.wav", "target": "x"}) + "\n" for key in keys)
    )
    return source_of(path)


@given(st.lists(st.sampled_from("abcdef"), max_size=40))
def test_repeated_keys_are_found_with_their_first_line(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str]
) -> None:
    found = survey(write(tmp_path_factory.getbasetemp() / "keys.jsonl", keys))
    expected = {
        line: keys.index(key) + 1 for line, key in enumerate(keys, start=1) if key in keys[: line - 1]
    }
    assert {line: found.first_with_key_of(line) for line in expected} == expected
    assert found.rejected[Reason.DUPLICATE_KEY] == len(expected)
    assert sorted(line.line for line in found.sample) == [
        n for n in range(1, len(keys) + 1) if n not in expected
    ]


def test_sample_is_bounded_and_even(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "SAMPLE", 200)
    found = survey(write(tmp_path / "list.jsonl", [str(key) for key in range(1000)]))
    assert len({line.line for line in found.sample}) == 200
    tenths = Counter((line.line - 1) // 100 for line in found.sample)
    assert len(tenths) == 10
    assert max(tenths.values()) < 40
    assert [line.line for line in found.sample] != sorted(line.line for line in found.sample)


def test_lines_that_need_no_audio_to_be_rejected(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(
        '{"source": "a.wav", "target": "[laughter]"}\n'
        '{"source": "https://host/a.wav", "target": "x"}\n'
        "\n"
        '{"source": "a.wav", "target": "a [pause] b", "speaker_id": "s", "language": "en"}\n'
    )
    empty, web, blank, ready = source_of(path).lines()
    assert isinstance(empty, Reject)
    assert empty.problem.reason is Reason.EMPTY_TEXT
    assert isinstance(web, Reject)
    assert web.problem.reason is Reason.UNSUPPORTED_SOURCE
    assert isinstance(blank, Blank)
    assert ready == Ready(4, "a:4", str(tmp_path / "a.wav"), "a b", "en", "s")


@pytest.mark.parametrize(
    ("source", "list_uri", "resolved"),
    [
        ("wav/a.wav", "/data/lists/train.jsonl", "/data/lists/wav/a.wav"),
        ("../wav/a.wav", "/data/lists/train.jsonl", "/data/lists/../wav/a.wav"),
        ("/other/a.wav", "/data/lists/train.jsonl", "/other/a.wav"),
        ("file:///other/a%20b.wav", "/data/lists/train.jsonl", "/other/a b.wav"),
        ("s3://bucket/a.wav", "/data/lists/train.jsonl", "s3://bucket/a.wav"),
        ("wav/a.wav", "s3://bucket/lists/train.jsonl", "s3://bucket/lists/wav/a.wav"),
        ("a.wav", "s3://bucket/train.jsonl", "s3://bucket/a.wav"),
        ("../wav/a.wav", "s3://bucket/lists/train.jsonl", "s3://bucket/wav/a.wav"),
        ("/mounted/a.wav", "s3://bucket/lists/train.jsonl", "/mounted/a.wav"),
        ("wav/语音 1.wav", "s3://bucket/lists/train.jsonl", "s3://bucket/lists/wav/语音 1.wav"),
    ],
)
def test_audio_is_found_relative_to_its_list(source: str, list_uri: str, resolved: str) -> None:
    assert resolve_source(source, list_uri) == resolved


@pytest.mark.parametrize(
    "source", ["../../other/a.wav", "http://host/a.wav", "s3:///a.wav", "s3://bucket/../a.wav"]
)
def test_audio_that_lies_nowhere_is_refused(source: str) -> None:
    with pytest.raises(SpecInvalidError):
        resolve_source(source, "s3://bucket/lists/train.jsonl")
