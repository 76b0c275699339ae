"""Builds the report: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from asrtune_api.runspec import Origin
from asrtune_trainer.report.charts import curve_charts
from asrtune_trainer.report.model import ReportData
from asrtune_trainer.report.words import bounds, duration, percent, points, tone, verdict
from asrtune_trainer.report.words_compared import compared_verdict
from asrtune_trainer.scoring import Span, SpanKind
from asrtune_trainer.scoring.results import Results

SHOWN_CHARACTERS = 2000
"""Of one transcript; the rest of a longer one is left out, and counted."""
SHOWN_EXAMPLES = 5
"""Of each set, before one asks for more."""


def build_report(data: ReportData) -> str:
    """The page, as HTML."""
    environment = Environment(
        loader=PackageLoader("asrtune_trainer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "range": bounds,
        "duration": duration,
        "clipped": clipped,
        "marked": marked,
        "share": share,
    }
    template = environment.get_template("report.html.j2")
    style = environment.loader.get_source(environment, "report.css")[0]  # type: ignore[union-attr]
    return template.render(
        data=data,
        style=Markup(style),  # noqa: S704  our own style sheet
        verdict=compared_verdict(data.results) if data.results.compared else verdict(data.results),
        tone=tone,
        called=data.called,
        scale=scale(data.results),
        charts=[(curve, curve_charts(curve, number)) for number, curve in enumerate(data.curves, start=1)],
        chosen=[one for one in data.decisions if one.origin is Origin.USER],
        shown_examples=SHOWN_EXAMPLES,
        longest=max((one.seconds for one in data.times), default=0.0),
    )


def scale(results: Results) -> float:
    """Right end of the axis of error rates, percent: a round number over every interval."""
    rates = [one.human or 0.0 for one in results.sets]
    rates += [max(model.rate, model.interval.high) for one in results.sets for model in one.models.values()]
    highest = max(rates, default=0.0)
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * step >= highest)


def share(value: float, whole: float) -> str:
    """A CSS percentage between 0 and 100."""
    return f"{100 * min(1.0, max(0.0, value / whole)) if whole else 0:.2f}%"


def clipped(text: str) -> str:
    """A text that may be enormous, cut to what a page can show."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]} … ({len(text) - SHOWN_CHARACTERS:,} more characters)"


def marked(spans: Sequence[Span]) -> Markup:
    """A hypothesis with its errors: what is wrong is marked up, with the reference's words above it."""
    shown, left = [], SHOWN_CHARACTERS
    whole = iter(spans)
    for span in whole:
        cut = Span(span.kind, span.reference[:left], span.hypothesis[:left])
        shown.append(_span(cut))
        left -= max(len(span.reference), len(span.hypothesis))
        if left <= 0:
            rest = sum(max(len(one.reference), len(one.hypothesis)) for one in whole) - left
            if rest:
                shown.append(escape(f" … ({rest:,} more characters)"))
            break
    return Markup("").join(shown)


_WRONG = Markup('<ruby class="sub"><mark>{1}</mark><rp> (</rp><rt>{0}</rt><rp>) </rp></ruby>')
_LOST = Markup('<del class="lost">{0}</del>')
_ADDED = Markup('<ins class="added">{1}</ins>')


def _span(span: Span) -> Markup:
    if span.kind is SpanKind.EQUAL:
        return escape(span.hypothesis)
    space = " " if (span.hypothesis or span.reference).startswith(" ") else ""
    template = {
        SpanKind.SUBSTITUTION: _WRONG,
        SpanKind.DELETION: _LOST,
        SpanKind.INSERTION: _ADDED,
    }[span.kind]
    return Markup(space) + template.format(span.reference.strip(), span.hypothesis.strip())  # noqa: S704  a space
