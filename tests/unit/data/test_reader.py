import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrtune_trainer.data.reader import MAX_LINE_BYTES, Blank, Candidate, Reject, read_line, read_list
from asrtune_trainer.data.reasons import REMEDIES, Reason


def line(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def candidate(data: bytes, number: int = 2) -> Candidate:
    found = read_line(number, data)
    assert isinstance(found, Candidate), found
    return found


def chat(*turns: tuple[str, str], **more: object) -> bytes:
    return line(messages=[{"role": role, "content": content} for role, content in turns], **more)


def test_full_line() -> None:
    data = line(
        key="a1",
        source="wav/a.wav",
        target="你好",
        source_len=90,
        target_len=2,
        domain="d",
        speaker_id="s1",
        text_language="<|zh|>",
    )
    assert candidate(data) == Candidate(2, "a1", "wav/a.wav", "你好", "zh", "s1")


def test_minimal_line_gets_a_key_of_file_and_line() -> None:
    assert candidate(line(source="/data/x/call.wav", target="hi"), 17).key == "call:17"


@pytest.mark.parametrize(
    ("language", "code"),
    [("<|en|>", "en"), ("zh-CN", "zh"), ("Mandarin", "zh"), ("yue", "yue"), ("auto", ""), ("th", "th")],
)
def test_language(language: str, code: str) -> None:
    assert candidate(line(source="a", target="b", language=language)).language == code


def test_chatml_line() -> None:
    data = chat(
        ("system", "You are a helpful assistant."),
        ("user", "语音转写：<|startofspeech|>!/data/a.wav<|endofspeech|>"),
        ("assistant", "你好"),
        key="k",
        speech_length=145,
    )
    assert candidate(data) == Candidate(2, "k", "/data/a.wav", "你好")


SPEECH = ("user", "<|startofspeech|>!a.wav<|endofspeech|>")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"source": "a", "target": "\xc4\xe3"}', Reason.NOT_UTF8),
        (b'{"source": "a", "target": "b"', Reason.NOT_JSON),
        (b"source,target", Reason.NOT_JSON),
        (b"[" * 100_000, Reason.NOT_JSON),
        (b'{"source": "a", "target": "b", "n": ' + b"9" * 5000 + b"}", Reason.NOT_JSON),
        (b'["a", "b"]', Reason.NOT_AN_OBJECT),
        (b"null", Reason.NOT_AN_OBJECT),
        (line(target="b"), Reason.NO_SOURCE),
        (line(source=" ", target="b"), Reason.NO_SOURCE),
        (line(source=None, target="b"), Reason.NO_SOURCE),
        (line(source=["a"], target="b"), Reason.INVALID_FIELD),
        (line(source="a\0b", target="b"), Reason.INVALID_FIELD),
        (line(source="a"), Reason.NO_TARGET),
        (line(source="a", target=None), Reason.NO_TARGET),
        (line(source="a", target=7), Reason.INVALID_FIELD),
        (b'{"source": "a", "target": "\\ud800"}', Reason.INVALID_FIELD),
        (b'{"source": "a", "target": "b", "key": "\\udfff"}', Reason.INVALID_FIELD),
        (line(source="a", target="b", key=["k"]), Reason.INVALID_FIELD),
        (line(source="a", target="b", key=1.5), Reason.INVALID_FIELD),
        (b'{"source": "a", "target": "' + b"b" * MAX_LINE_BYTES + b'"}', Reason.LINE_TOO_LONG),
        (line(messages="no"), Reason.INVALID_FIELD),
        (line(messages=[1]), Reason.INVALID_FIELD),
        (line(messages=[]), Reason.NO_SOURCE),
        (chat(("user", "no speech"), ("assistant", "b")), Reason.NO_SOURCE),
        (chat(SPEECH), Reason.NO_TARGET),
        (chat(SPEECH, ("assistant", "b"), SPEECH, ("assistant", "c")), Reason.INVALID_FIELD),
    ],
)
def test_broken_line(data: bytes, reason: Reason) -> None:
    found = read_line(3, data)
    assert isinstance(found, Reject)
    assert (found.line, found.problem.reason) == (3, reason)
    assert found.problem.detail


def test_reject_names_key_and_source() -> None:
    found = read_line(1, line(source="a.wav", target=7, key="k"))
    assert isinstance(found, Reject)
    assert (found.key, found.source) == ("k", "a.wav")


def test_numbers_may_be_keys() -> None:
    assert candidate(line(source="a", target="b", key=12, speaker_id=3)).key == "12"


def test_byte_order_mark_crlf_blank_lines_and_no_last_line_end(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    one = line(source="a", target="b")
    path.write_bytes(b"\xef\xbb\xbf" + one + b"\r\n\r\n  \t\n" + one)
    assert [type(found) for found in read_list(path)] == [Candidate, Blank, Blank, Candidate]


def test_endless_line_is_one_reject_and_the_next_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    for length in (MAX_LINE_BYTES, MAX_LINE_BYTES + 1, MAX_LINE_BYTES + 2, 3 * MAX_LINE_BYTES + 5):
        path.write_bytes(b"x" * length + b"\n" + line(source="a", target="b") + b"\n")
        first, second = read_list(path)
        assert isinstance(first, Reject)
        expected = Reason.LINE_TOO_LONG if length > MAX_LINE_BYTES else Reason.NOT_JSON
        assert first.problem.reason is expected
        assert isinstance(second, Candidate)


def test_every_reason_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Reason)
    assert all(remedy.endswith(".") for remedy in REMEDIES.values())


FIELDS = st.sampled_from(
    ["source", "target", "key", "messages", "role", "content", "speaker_id", "speaker", "language"]
)
fragments = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\n", b"\r\n", b"{", b'{"source": "a", "target": "b"}', b"\xef\xbb\xbf", b" ", b"\0"]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    ).map(lambda value: json.dumps(value).encode() + b"\n"),
)


@given(st.lists(fragments, max_size=30).map(b"".join))
def test_arbitrary_bytes_never_raise_and_lines_add_up(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary.jsonl"
    path.write_bytes(data)
    found = list(read_list(path))
    lines = data.count(b"\n") + bool(data and not data.endswith(b"\n"))
    assert [one.line for one in found] == list(range(1, lines + 1))
    for one in found:  # all that is kept can be written as UTF-8
        json.dumps([one.key, one.source] if not isinstance(one, Blank) else [], ensure_ascii=False).encode()
