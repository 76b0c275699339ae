import json
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from asrtune_trainer.data.reader import Reject
from asrtune_trainer.data.reasons import Problem, Reason
from asrtune_trainer.data.rejects import Allowance, RejectLog, reject_log


@given(st.integers(1, 10**6), st.integers(0, 100), st.integers(0, 10**6))
def test_share_is_exceeded_exactly_when_it_is(lines: int, percent: int, rejected: int) -> None:
    assert Allowance(lines, percent).is_exceeded(rejected) == (rejected / lines > percent / 100)


@given(st.data(), st.integers(10, 3000), st.integers(0, 100))
def test_sample_never_condemns_a_source_within_its_allowance(
    data: st.DataObject, lines: int, percent: int
) -> None:
    allowance = Allowance(lines, percent)
    bad_lines = data.draw(st.integers(0, allowance.most))
    certain = data.draw(st.integers(0, bad_lines))
    rest = [True] * (bad_lines - certain) + [False] * (lines - bad_lines)
    drawn = random.Random(data.draw(st.integers(0, 1000))).sample(rest, len(rest))
    bad = 0
    for count, is_bad in enumerate(drawn, start=1):
        bad += is_bad
        assert not allowance.will_be_exceeded(certain, count, bad)


def test_half_broken_source_is_condemned_from_a_few_lines() -> None:
    allowance = Allowance(1_000_000, 5)
    assert allowance.will_be_exceeded(0, 64, 32)
    assert not allowance.will_be_exceeded(0, 8, 4)
    assert not allowance.will_be_exceeded(0, 1000, 51)
    assert allowance.looks_exceeded(0, 1000, 51)
    assert not allowance.looks_exceeded(0, 1000, 50)


def test_nothing_allowed_and_everything_allowed() -> None:
    assert Allowance(10**6, 0).will_be_exceeded(0, 1, 1)
    assert not Allowance(10**6, 0).will_be_exceeded(0, 1000, 0)
    assert not Allowance(10**6, 100).will_be_exceeded(0, 1000, 1000)


def test_rejects_known_without_the_sample_use_up_the_allowance() -> None:
    assert Allowance(1000, 5).will_be_exceeded(51, 0, 0)
    assert Allowance(1000, 5).will_be_exceeded(50, 1, 1)
    assert not Allowance(1000, 5).will_be_exceeded(50, 100, 0)


def fail_halfway(path: Path) -> RejectLog:
    try:
        with reject_log(path) as log:
            for line in range(1, 6):
                log.add("train/a", "a.jsonl", Reject(line, Problem(Reason.NOT_JSON, "x\ud800"), "键", "s"))
            assert not path.exists()
            int("too many")
    except ValueError:
        return log
    raise AssertionError


def test_log_appears_whole_also_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    log = fail_halfway(path)
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["line"] for one in written] == [1, 2, 3, 4, 5]
    assert written[0] | {"detail": ""} == {
        "set": "train/a", "file": "a.jsonl", "line": 1, "key": "键", "source": "s", "reason": "NotJson", "detail": "",
        "remedy": Problem(Reason.NOT_JSON, "").remedy,
    }  # fmt: skip
    assert log.tally("train/a").summary() == "NotJson 5 (lines 1, 2, 3)"
    assert list(tmp_path.iterdir()) == [path]
