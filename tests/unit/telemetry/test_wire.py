"""Events survive the way through JSON."""

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given

from asrtune_trainer.telemetry.events import Event, Note, StageFinished
from asrtune_trainer.telemetry.wire import from_json, read_fields, to_json
from tools.events import anything, train_step


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def comparable(event: Event) -> list[Any]:
    """The event's fields; nan is like nan here."""
    values = [getattr(event, field.name) for field in fields(event)]
    return [
        type(event),
        *(
            {key: repr(item) for key, item in value.items()} if isinstance(value, dict) else repr(value)
            for value in values
        ),
    ]


@given(anything)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    line = to_json(event)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    json.loads(line, parse_constant=refuse_constant)
    assert comparable(from_json(line)) == comparable(event)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_stays_one(value: float) -> None:
    step = train_step(loss=value, accuracy=None)
    back = from_json(to_json(step))
    assert comparable(back) == comparable(step)
    assert comparable(back) != comparable(replace(step, loss=0.0))


def test_fields_are_read_back_with_their_numbers() -> None:
    step = train_step(loss=math.nan, gradient_norm=math.inf, accuracy=0.5, stage="NaN")
    fields = read_fields(to_json(step))
    assert math.isnan(fields["loss"])
    assert fields["gradient_norm"] == math.inf
    assert (fields["event"], fields["stage"], fields["accuracy"]) == ("TrainStep", "NaN", 0.5)
    assert read_fields('{"event": "Validated", "step": 3, "new": "Infinity"}') == {
        "event": "Validated",
        "step": 3,
        "new": "Infinity",
    }


def test_metrics_that_are_not_finite_survive() -> None:
    back = from_json(to_json(StageFinished("train", "Train", 1.0, {"loss": math.inf})))
    assert isinstance(back, StageFinished)
    assert back.metrics == {"loss": math.inf}


def test_a_file_name_that_is_not_text_does_not_stop_the_event() -> None:
    back = from_json(to_json(Note("prepare", b"a\xff.wav".decode(errors="surrogateescape"))))
    assert back == Note("prepare", "a\\udcff.wav")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '{"event": "Nothing"}',
        '{"event": ["Note"]}',
        '{"event": "Note", "stage": "x"}',
        "{}",
    ],
)
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        from_json(line)


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert from_json('{"event": "Note", "stage": "a", "message": "b", "colour": "red"}') == Note("a", "b")
