"""What a dashboard is made of, free of Grafana's details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LASTS: Final = "Stays when the pods are gone."
"""Ends the description of such a panel; tests hold it to that."""


class Kind(StrEnum):
    """How a panel draws, as Grafana calls its plugins."""

    GRAPH = "timeseries"
    NUMBER = "stat"
    BARS = "bargauge"
    TABLE = "table"
    TIMELINE = "state-timeline"


class Colour(StrEnum):
    """Of Grafana's palette."""

    GREEN = "green"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"
    BLUE = "blue"
    GREY = "#8e8e8e"


@dataclass(frozen=True)
class Query:
    """PromQL, and the name of each series: text with {{label}}; in a table the column's name."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One question and its answer.

    Attributes:
        title: the question's name.
        text: what it means, and what to do where it looks bad.
        queries: what is asked.
        kind: how the answer is drawn.
        unit: as Grafana calls it: s, bytes, percent (0 to 100), percentunit (0 to 1), short...
        width: of 24 columns.
        height: in Grafana's rows of 30 pixels.
        lasts: the operator exports it, too: it is there when the pods are gone.
        steps: from which value on which colour holds, the first from below all.
        states: of a timeline or a number: value -> (its name, its colour).
        stacked: areas on each other.
        names: a number shows the series' name instead of its value.
        largest: the axis' upper end.
        run_links: a table's column `run` leads to the run's own dashboard.
        decimals: digits behind the point, Grafana's choice where unset.
    """

    title: str
    text: str
    queries: Sequence[Query]
    kind: Kind = Kind.GRAPH
    unit: str = "short"
    width: int = 8
    height: int = 8
    lasts: bool = False
    steps: Sequence[tuple[float | None, Colour]] = ()
    states: Mapping[int, tuple[str, Colour]] | None = None
    stacked: bool = False
    names: bool = False
    largest: float | None = None
    run_links: bool = False
    decimals: int | None = None

    @property
    def description(self) -> str:
        """For the panel's (i)."""
        return f"{self.text} {LASTS}" if self.lasts else self.text


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """What a reader chooses on top: values of a label.

    Attributes:
        name: of the variable.
        label: for people.
        query: in Grafana's words: label_values(SERIES, LABEL).
        several: any number of values, or all.
    """

    name: str
    label: str
    query: str
    several: bool = False


@dataclass(frozen=True)
class Mark:
    """Something that happened, as a line through all graphs."""

    name: str
    expression: str
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Board:
    """A dashboard.

    Attributes:
        uid: the end of its address, by which others link to it.
        title: its name.
        text: which questions it answers.
        variables: what is chosen on top.
        rows: its panels.
        marks: what happened.
        span: which time it shows first, such as 6h.
    """

    uid: str
    title: str
    text: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    marks: Sequence[Mark] = ()
    span: str = "6h"
