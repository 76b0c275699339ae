"""Reads data lists as users have them: JSONL with source and target, or Fun-ASR-Nano's ChatML lines.

Every line is a `Candidate`, a `Reject` or blank; nothing a file holds makes the reader raise, except
that the file as a whole is not a list (`open_list`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from asrtune_trainer.data.reasons import Problem, Reason

MAX_LINE_BYTES = 1 << 20
"""Longest line: bounds the memory that a file without line ends can take."""

_SPEECH = re.compile(r"<\|startofspeech\|>!?(.*?)<\|endofspeech\|>", re.DOTALL)
_LANGUAGES = {
    "chinese": "zh", "mandarin": "zh", "cmn": "zh", "cn": "zh", "english": "en", "cantonese": "yue",
    "japanese": "ja", "jp": "ja", "korean": "ko", "kr": "ko", "auto": "", "nospeech": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """A well-formed line, its audio not yet looked at."""

    line: int
    """From 1."""
    key: str
    """The line's own key, or one made of the file's name and the line number."""
    source: str
    """Audio as the line gives it."""
    target: str
    """Transcript as the line gives it."""
    language: str = ""
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that is not used."""

    line: int
    problem: Problem
    key: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Blank:
    """A line of white space alone."""

    line: int


Line = Candidate | Reject | Blank


def read_list(path: Path) -> Iterator[Line]:
    """Read a list line by line, in constant memory.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        for number, data in enumerate(_lines(file), start=1):
            yield read_line(number, data)


def read_line(number: int, data: bytes) -> Line:
    """Judge one line, given without its line end. Never raises."""
    if number == 1:
        data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        return Blank(number)
    fields = _fields(data)
    return Reject(number, fields) if isinstance(fields, Problem) else _candidate(number, fields)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends; of one over the limit only what shows that it is."""
    while data := file.readline(MAX_LINE_BYTES + 2):
        rest = data
        while not rest.endswith(b"\n") and len(rest) > MAX_LINE_BYTES:
            rest = file.readline(MAX_LINE_BYTES + 2)
        yield data.rstrip(b"\r\n")


def _fields(data: bytes) -> dict[str, Any] | Problem:
    if len(data) > MAX_LINE_BYTES:
        return Problem(Reason.LINE_TOO_LONG, f"starts with {data[:40]!r}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Problem(Reason.NOT_UTF8, f"byte {error.start + 1} of the line is 0x{data[error.start]:02x}")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return Problem(Reason.NOT_JSON, f"{error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 10,000 brackets
        return Problem(Reason.NOT_JSON, str(error))
    if not isinstance(value, dict):
        return Problem(Reason.NOT_AN_OBJECT, f"the line is {_kind(value)}")
    return value


def _candidate(number: int, fields: dict[str, Any]) -> Candidate | Reject:
    plain = _from_messages(fields) if "messages" in fields else fields
    if isinstance(plain, Problem):
        return Reject(number, plain, _readable(fields.get("key")))
    source, target = plain.get("source"), plain.get("target")
    key = _readable(fields.get("key")).strip()
    problem = (
        _text_problem("source", source, Reason.NO_SOURCE)
        or _text_problem("target", target, Reason.NO_TARGET)
        or _optional_problem(fields)
    )
    if problem:
        return Reject(number, problem, key, _readable(source))
    assert isinstance(source, str)
    assert isinstance(target, str)
    return Candidate(
        line=number,
        key=key or f"{PurePosixPath(source).stem}:{number}",
        source=source.strip(),
        target=target,
        language=_language(_readable(fields.get("text_language") or fields.get("language"))),
        speaker=_readable(fields.get("speaker_id") if "speaker_id" in fields else fields.get("speaker")),
    )


def _text_problem(name: str, value: Any, missing: Reason) -> Problem | None:
    """What is wrong with a field that must be text; `target` may be empty here: checks judge the normalised text."""
    if value is None:
        return Problem(missing, f"there is no {name}")
    if not isinstance(value, str):
        return Problem(Reason.INVALID_FIELD, f"{name} is {_kind(value)}, not a string")
    if name == "source" and not value.strip():
        return Problem(missing, "source is empty")
    if not _is_encodable(value) or (name == "source" and "\0" in value):
        return Problem(Reason.INVALID_FIELD, f"{name} holds half a character (\\ud800) or a zero byte")
    return None


def _optional_problem(fields: dict[str, Any]) -> Problem | None:
    for name in ("key", "speaker_id", "speaker", "text_language", "language"):
        value = fields.get(name)
        if value is not None and (not isinstance(value, str | int) or isinstance(value, bool)):
            return Problem(Reason.INVALID_FIELD, f"{name} is {_kind(value)}, not a string")
        if isinstance(value, str) and not _is_encodable(value):
            return Problem(Reason.INVALID_FIELD, f"{name} holds half a character (\\ud800)")
    return None


def _from_messages(fields: dict[str, Any]) -> dict[str, Any] | Problem:
    """Source and target of a ChatML line: the speech in the user's message, the assistant's answer."""
    messages = fields["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return Problem(Reason.INVALID_FIELD, "messages is not a list of objects")
    said: dict[str, list[str]] = {"user": [], "assistant": []}
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role in said and isinstance(content, str):
            said[role].append(content)
    speech = _SPEECH.findall("\n".join(said["user"]))
    if len(speech) > 1 or len(said["assistant"]) > 1:
        return Problem(Reason.INVALID_FIELD, "messages hold more than one turn; give each a line of its own")
    return {"source": speech[0] if speech else None, "target": next(iter(said["assistant"]), None)}


def _language(value: str) -> str:
    """The code in <|zh|>, zh-CN or Chinese; an unknown name as it is, in lower case."""
    code = value.strip().removeprefix("<|").removesuffix("|>").strip().lower()
    code = re.split(r"[-_]", code)[0]
    return _LANGUAGES.get(code, code)


def _readable(value: Any) -> str:
    """A field for people: text that can be written, and not endless."""
    text = "" if value is None or isinstance(value, bool | dict | list) else str(value)
    return text.encode(errors="replace").decode()[:1024]


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
