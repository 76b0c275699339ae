"""Names of what the operator makes: no two runs ever come to the same one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from asrtune_operator.values.names import MAX_NAME, workload_name

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
RUNS = st.one_of(
    LABELS,
    st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,80}[a-z0-9])?", fullmatch=True).filter(lambda n: ".." not in n),
)
KEYS = st.tuples(RUNS, LABELS, st.integers(1, 9999), st.booleans())


def name(key: tuple[str, str, int, bool]) -> str:
    run, stage, attempt, evaluation = key
    return workload_name(run, stage, attempt, evaluation=evaluation)


@given(KEYS)
def test_names_are_short_dns_labels(key: tuple[str, str, int, bool]) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name(key))
    assert len(name(key)) <= MAX_NAME


@given(KEYS, KEYS)
def test_different_keys_have_different_names(
    one: tuple[str, str, int, bool], other: tuple[str, str, int, bool]
) -> None:
    assert (name(one) == name(other)) == (one == other)


def test_dashes_do_not_confuse_runs() -> None:
    assert workload_name("a", "b-c", 1) != workload_name("a-b", "c", 1)
    assert workload_name("x-eval", "prepare", 1) != workload_name("x", "prepare", 1, evaluation=True)
    assert workload_name("demo", "train", 3) == "demo-train-3"
