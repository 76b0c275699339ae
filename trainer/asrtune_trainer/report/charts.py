"""Curves of training as SVG that takes its colours and fonts from the page, so that it fits light, dark and print."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from asrtune_trainer.report.model import Curve

# Placeholders, one a role; the page's own colours take their place in the SVG.
_INK, _GRID, _TRAIN, _VALIDATION, _GROUND = "#010101", "#020202", "#030303", "#040404", "#050505"
_COLOURS = {
    _INK: "var(--muted)",
    _GRID: "var(--line)",
    _TRAIN: "var(--series-1)",
    _VALIDATION: "var(--series-2)",
    _GROUND: "var(--ground)",
}
_INCHES = (4.8, 2.7)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, and in the page's font
    "font.size": 9.5,
    "font.family": "sans-serif",
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "ytick.left": False,
    "axes.labelcolor": _INK,
    "text.parse_math": False,
}

Points = Sequence[tuple[float, float]]
"""(step, value)."""


@dataclass(frozen=True)
class Chart:
    """A figure of the page."""

    title: str
    unit: str
    svg: Markup
    summary: str
    """What it shows, for those who do not see it."""
    series: Sequence[str]
    """Names of what is drawn: train, validation."""


@dataclass(frozen=True)
class _Plan:
    """What a chart draws of the events."""

    title: str
    unit: str
    train: str
    validation: str
    percent: bool = False


_PLANS = (
    _Plan("Loss", "", "loss", "loss"),
    _Plan("Validation CER", "%", "", "cer"),
    _Plan("Accuracy", "%", "accuracy", "accuracy", percent=True),
    _Plan("Learning rate", "", "learning_rate", ""),
)


def curve_charts(curve: Curve, number: int) -> list[Chart]:
    """Charts of a training stage; what was not measured has none.

    Args:
        curve: the stage's events.
        number: sets its element ids apart from those of other stages.
    """
    best = curve.details.get("best_step")
    charts = []
    for index, plan in enumerate(_PLANS):
        train = _points(curve.steps, plan.train, percent=plan.percent)
        validation = _points(curve.validations, plan.validation, percent=plan.percent)
        if train or validation:
            svg = _draw(plan, train, validation, best, f"chart-{number}-{index}")
            series = [name for name, points in (("training", train), ("validation", validation)) if points]
            charts.append(Chart(plan.title, plan.unit, svg, _summary(plan, train, validation), series))
    return charts


def _points(events: Sequence[Mapping[str, Any]], field: str, *, percent: bool) -> Points:
    if not field:
        return []
    scale = 100.0 if percent else 1.0
    values = ((event.get("step"), event.get(field)) for event in events)
    return [
        (float(step), float(value) * scale)
        for step, value in values
        if step is not None and value is not None and math.isfinite(value)
    ]


def _draw(plan: _Plan, train: Points, validation: Points, best: float | None, prefix: str) -> Markup:
    with mpl.rc_context({**_STYLE, "svg.hashsalt": prefix}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        if train:
            axes.plot(
                *zip(*train, strict=True), color=_TRAIN, linewidth=1.6, marker=_dot(train), markersize=3
            )
        if validation:
            axes.plot(
                *zip(*validation, strict=True),
                color=_VALIDATION,
                linewidth=1.6,
                linestyle=(0, (4, 1.5)),
                marker="o",
                markersize=4,
                markerfacecolor=_GROUND,
            )
        if best is not None and validation:
            _mark_best(axes, validation, best)
        _dress(axes, plan)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _themed(buffer.getvalue(), prefix)


def _dot(points: Points) -> str:
    return "o" if len(points) == 1 else ""


def _mark_best(axes: Axes, validation: Points, best: float) -> None:
    for step, value in validation:
        if step == best:
            axes.plot([step], [value], color=_VALIDATION, marker="D", markersize=7)


def _dress(axes: Axes, plan: _Plan) -> None:
    axes.set_xlabel("step", loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.02, y=0.08)
    if not plan.percent:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))


def _themed(svg: str, prefix: str) -> Markup:
    """A fragment for the page: its colours, its font, ids of its own; sized by the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", '<svg role="presentation" focusable="false"', 1)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, variable)
    return Markup(svg)  # noqa: S704  matplotlib's own output: no text of ours but digits and fixed words


def _summary(plan: _Plan, train: Points, validation: Points) -> str:
    parts = []
    for name, points in (("training", train), ("validation", validation)):
        if points:
            (_, first), (_, last) = points[0], points[-1]
            low, high = min(value for _, value in points), max(value for _, value in points)
            unit = f" {plan.unit}" if plan.unit else ""
            parts.append(
                f"{name} from {first:.4g}{unit} to {last:.4g}{unit} over {len(points)} points,"
                f" lowest {low:.4g}, highest {high:.4g}"
            )
    return f"{plan.title}: {'; '.join(parts)}."
