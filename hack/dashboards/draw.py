"""Draws a dashboard's panels from a Prometheus' answers: pictures for the docs, where no Grafana runs."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from dashboards.units import shown

COLUMNS: Final = 24
INCHES: Final = (0.58, 0.36)
"""Of a cell of Grafana's grid."""
COLOURS: Final = {
    "green": "#56a64b",
    "yellow": "#d9b300",
    "orange": "#e5781e",
    "red": "#d0312d",
    "blue": "#3274d9",
}
_MARGINS: Final = {"timeseries": 0.045}
"""Left of a panel, for the axis' numbers; shares of the picture."""
_PALETTE: Final = 128
"""Colours of a picture: a third of the size, and nobody sees it."""
_GAP: Final = 2.5
"""Seconds without a point after which a line is broken."""
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e4e4e4",
    "axes.edgecolor": "#b0b0b0",
    "xtick.color": "#606060",
    "ytick.color": "#606060",
    "legend.frameon": False,
    "axes.prop_cycle": cycler(
        color=["#3274d9", "#e5781e", "#56a64b", "#8f3bb8", "#d0312d", "#0a8f8f", "#b5890b"]
    ),
}
Json = dict[str, Any]


class Series(Protocol):
    """As an answer has it."""

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def points(self) -> Sequence[tuple[float, float]]: ...


class Answers(Protocol):
    """What a Prometheus says."""

    @property
    def begun(self) -> float:
        """Where a picture's time is 0, unix seconds."""
        ...

    def course(self, expression: str) -> Sequence[Series]:
        """Over the whole time."""
        ...

    def last(self, expression: str) -> Sequence[Series]:
        """At its end."""
        ...


def draw(board: Json, answers: Answers, path: Path) -> None:
    """A picture of all panels, in their places."""
    panels = board["panels"]
    rows = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in panels)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(COLUMNS * INCHES[0], (rows + 1) * INCHES[1]), facecolor="white")
        FigureCanvasAgg(figure)
        figure.text(0.008, 1 - 0.75 / (rows + 1), board["title"], fontsize=12, weight="bold", va="center")
        for panel in panels:
            _place(figure, panel, rows + 1, answers)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=100)
    few = Image.open(drawn).convert("RGB").quantize(_PALETTE, method=Image.Quantize.MAXCOVERAGE)
    few.save(path, optimize=True)


def _place(figure: Figure, panel: Json, rows: int, answers: Answers) -> None:
    at = panel["gridPos"]
    left, width = at.get("x", 0) / COLUMNS, at["w"] / COLUMNS
    top, height = 1 - (at["y"] + 1) / rows, at["h"] / rows
    if panel["type"] == "row":
        figure.text(left + 0.008, top - height / 2, panel["title"], fontsize=9, color="#404040", va="center")
        return
    figure.text(left + 0.012, top - 0.45 / rows, panel["title"], fontsize=8, va="center")
    wide = panel["type"] in {"bargauge", "state-timeline"}
    pad = (min(3.2 / COLUMNS, 0.45 * width) if wide else _MARGINS.get(panel["type"], 0.012), 0.012)
    axes = figure.add_axes((left + pad[0], top - height + 1.1 / rows, width - sum(pad), height - 2.1 / rows))
    _PAINTERS[panel["type"]](axes, panel, answers)


def _graph(axes: Axes, panel: Json, answers: Answers) -> None:
    unit = _unit(panel)
    named = [
        (_name(target, series), _broken([(at - answers.begun, value) for at, value in series.points]))
        for target in panel["targets"]
        for series in answers.course(target["expr"])
    ]
    top = max([value for _, points in named for _, value in points if math.isfinite(value)], default=0.0)
    if "stacking" in panel["fieldConfig"]["defaults"].get("custom", {}):
        moments = sorted({at for _, points in named for at, _ in points})
        known = [{at: 0.0 if math.isnan(value) else value for at, value in points} for _, points in named]
        heights = [[one.get(at, 0.0) for at in moments] for one in known]
        top = max((sum(column) for column in zip(*heights, strict=True)), default=0.0)
        axes.stackplot(moments, heights, labels=[name for name, _ in named], alpha=0.55)
    else:
        for name, points in named:
            thin = "end" in name
            axes.plot(
                *zip(*points, strict=True),
                label=None if thin else name,
                linewidth=0.6 if thin else 1.3,
                marker="o" if len(points) == 1 else "",
                markersize=2,
            )
    axes.set_ylim(0, 1.12 * top or 1)
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []):
        if step["value"] is not None and step["value"] <= axes.get_ylim()[1]:
            axes.axhline(step["value"], color=COLOURS[step["color"]], linewidth=0.8, linestyle="--")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, "s")))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(length=0, labelsize=6)
    if any(name for name, _ in named):
        axes.legend(loc="best", fontsize=6, ncols=2)


def _broken(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """With a hole where there were no points."""
    found = points[:1]
    for (before, _), (at, value) in pairwise(points):
        hole = [(before + 1, math.nan), (at - 1, math.nan)] if at - before > _GAP else []
        found += [*hole, (at, value)]
    return found


def _number(axes: Axes, panel: Json, answers: Answers) -> None:
    axes.axis("off")
    (target,) = panel["targets"]
    found = answers.last(target["expr"])
    names = panel["options"].get("textMode") == "name"
    value = found[0].points[-1][1] if found else float("nan")
    decimals = panel["fieldConfig"]["defaults"].get("decimals")
    text = _name(target, found[0]) if names and found else shown(value, _unit(panel), decimals)
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    held = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    colour = COLOURS[held[-1]] if held else "#303030"
    axes.text(0.0, 0.5, text, fontsize=13, weight="bold", color=colour, va="center", transform=axes.transAxes)


def _bars(axes: Axes, panel: Json, answers: Answers) -> None:
    (target,) = panel["targets"]
    found = sorted(answers.last(target["expr"]), key=lambda one: one.points[-1][1])
    values = [one.points[-1][1] for one in found]
    if not found:
        axes.axis("off")
        return
    bars = axes.barh([_name(target, one) for one in found], values, height=0.5)
    axes.set_ylim(-0.8, max(3.0, len(found)) - 0.2)
    axes.bar_label(bars, [shown(value, _unit(panel)) for value in values], padding=3, fontsize=7)
    axes.set_xlim(0, 1.3 * max([*values, 1e-9]))
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.tick_params(length=0)


def _timeline(axes: Axes, panel: Json, answers: Answers) -> None:
    (target,) = panel["targets"]
    options = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    states = {float(value): state for value, state in options.items()}
    found = sorted(answers.course(target["expr"]), key=lambda one: _first(one, 1.0))
    drawn = set()
    for row, series in enumerate(found):
        moments = [at - answers.begun for at, _ in series.points]
        for index, (begin, (_, value)) in enumerate(zip(moments, series.points, strict=True)):
            state = states[value]
            end = moments[index + 1] if index + 1 < len(moments) else begin + 1
            label = None if state["text"] in drawn else state["text"]
            drawn.add(state["text"])
            colour = COLOURS.get(state["color"], state["color"])
            axes.barh(row, end - begin, left=begin, height=0.7, color=colour, label=label)
    axes.set_yticks(range(len(found)), [_name(target, one) for one in found])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, "s")))
    axes.tick_params(length=0)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), fontsize=6, ncols=6)


def _first(series: Series, value: float) -> float:
    """When a series first had a value; never: at the end."""
    return next((at for at, one in series.points if one >= value), float("inf"))


def _table(axes: Axes, panel: Json, answers: Answers) -> None:
    axes.axis("off")
    units = {
        one["matcher"]["options"]: value["value"]
        for one in panel["fieldConfig"].get("overrides", [])
        for value in one["properties"]
        if value["id"] == "unit"
    }
    rows: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for target in panel["targets"]:
        for series in answers.last(target["expr"]):
            labels = {("run" if key == "name" else key): value for key, value in series.labels.items()}
            row = rows.setdefault(tuple(sorted(labels.items())), labels)
            if column := target.get("legendFormat"):
                row[column] = shown(series.points[-1][1], units.get(column, ""))
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    made = axes.table(cells, colLabels=columns, loc="upper left", cellLoc="left", edges="horizontal")
    made.auto_set_font_size(False)  # noqa: FBT003 (matplotlib's own)
    made.set_fontsize(7)
    made.auto_set_column_width(list(range(len(columns))))


def _name(target: Json, series: Series) -> str:
    return re.sub(
        r"{{(\w+)}}", lambda label: series.labels.get(label[1], ""), target.get("legendFormat", "")
    ).strip()


def _unit(panel: Json) -> str:
    return str(panel["fieldConfig"]["defaults"].get("unit", ""))


_PAINTERS: Final[dict[str, Callable[[Axes, Json, Answers], None]]] = {
    "timeseries": _graph,
    "stat": _number,
    "bargauge": _bars,
    "table": _table,
    "state-timeline": _timeline,
}
