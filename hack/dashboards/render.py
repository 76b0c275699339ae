"""Grafana's JSON of a board."""

from __future__ import annotations

import json
import string
from typing import Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as schema
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.model import Board, Colour, Kind, Mark, Panel, Query, Variable

TAG: Final = "asrtune"
RUN_UID: Final = "asrtune-run"
SOURCE: Final = schema.DataSourceRef(type_val="prometheus", uid="${datasource}")
_RUN_LINK: Final = (
    f"/d/{RUN_UID}?${{datasource:queryparam}}&var-kind=${{__data.fields.kind}}"
    "&var-namespace=${__data.fields.namespace}&var-run=${__value.text}&${__url_time_range}"
)
AnyPanel = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel | statetimeline.Panel


def render(board: Board) -> str:
    """The dashboard as Grafana imports it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags([TAG])
        .time(f"now-{board.span}", "now")
        .refresh("30s")
        .timezone("browser")
        .readonly()
        .tooltip(schema.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("asrtune")
            .type(schema.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    for mark in board.marks:
        made.annotation(_mark(mark))
    number = 0
    for row in board.rows:
        made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            number += 1
            made.with_panel(_panel(panel).id(number))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _variable(variable: Variable) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(SOURCE)
        .query(variable.query)
        .refresh(schema.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(schema.VariableSort.ALPHABETICAL_ASC)
    )
    return made.multi(multi=True).include_all(include_all=True).all_value(".*") if variable.several else made


def _mark(mark: Mark) -> dashboard.AnnotationQuery:
    made = dashboard.AnnotationQuery().name(mark.name).datasource(SOURCE).enable(enable=True)
    return made.icon_color(mark.colour).expr(mark.expression)


def _panel(panel: Panel) -> AnyPanel:
    made = _drawn(panel)
    made.title(panel.title).description(panel.description).datasource(SOURCE)
    made.span(panel.width).height(panel.height).unit(panel.unit).no_value("–")
    for name, query in zip(string.ascii_uppercase, panel.queries, strict=False):
        made.with_target(_target(panel, query).ref_id(name))
    if panel.steps:
        steps = [schema.Threshold(value=value, color=colour) for value, colour in panel.steps]
        made.thresholds(dashboard.ThresholdsConfig().mode(schema.ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.states:
        named = {
            str(value): schema.ValueMappingResult(text=text, color=colour, index=value)
            for value, (text, colour) in panel.states.items()
        }
        made.mappings([schema.ValueMap(options=named)])
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if panel.largest is not None:
        made.max(panel.largest)
    return made


def _target(panel: Panel, query: Query) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expression).legend_format(query.legend)
    match panel.kind:
        case Kind.TABLE:
            return made.instant().format(PromQueryFormat.TABLE)
        case Kind.GRAPH | Kind.TIMELINE:
            return made.range()
        case _:
            return made.instant()


def _drawn(panel: Panel) -> AnyPanel:
    match panel.kind:
        case Kind.GRAPH:
            return _graph(panel)
        case Kind.NUMBER:
            mode = shapes.BigValueTextMode.NAME if panel.names else shapes.BigValueTextMode.AUTO
            colour = shapes.BigValueColorMode.VALUE if panel.steps else shapes.BigValueColorMode.NONE
            return stat.Panel().text_mode(mode).color_mode(colour).graph_mode(shapes.BigValueGraphMode.NONE)
        case Kind.BARS:
            bars = bargauge.Panel().orientation(shapes.VizOrientation.HORIZONTAL).min(0)
            return bars.display_mode(shapes.BarGaugeDisplayMode.BASIC)
        case Kind.TIMELINE:
            timeline = statetimeline.Panel().show_value(shapes.VisibilityMode.AUTO).row_height(0.8)
            return timeline.merge_values(merge_values=True).fill_opacity(80)
        case Kind.TABLE:
            return _table(panel)


def _graph(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().placement(shapes.LegendPlacement.BOTTOM).show_legend(show_legend=True)
    made = timeseries.Panel().legend(legend.display_mode(shapes.LegendDisplayMode.LIST)).axis_soft_min(0)
    made.tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
    made.line_width(2).show_points(shapes.VisibilityMode.AUTO)
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL)).fill_opacity(40)
    if panel.steps:
        style = common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.DASHED)
        made.thresholds_style(style)
    return made


def _table(panel: Panel) -> table.Panel:
    """Its queries side by side, joined by the labels that they share."""
    columns = dict(zip(string.ascii_uppercase, (query.legend for query in panel.queries), strict=False))
    values = {"name": "run"} | {
        ("Value" if len(columns) == 1 else f"Value #{letter}"): name for letter, name in columns.items()
    }
    hidden = {"Time": True} | {key: True for key, name in values.items() if not name}
    options = {"excludeByName": hidden, "renameByName": {key: name for key, name in values.items() if name}}
    made = table.Panel().with_transformation(schema.DataTransformerConfig(id_val="merge", options={}))
    made.with_transformation(schema.DataTransformerConfig(id_val="organize", options=options))
    if panel.run_links:
        link = {"title": "This run", "url": _RUN_LINK}
        made.override_by_name("run", [schema.DynamicConfigValue(id_val="links", value=[link])])
    for name, unit in _UNITS.items():
        if name in columns.values():
            made.override_by_name(name, [schema.DynamicConfigValue(id_val="unit", value=unit)])
    return made


_UNITS: Final = {
    "GPU time": "s",
    "lost": "s",
    "progress": "percent",
    "error rate": "percent",
    "lower end": "percent",
    "upper end": "percent",
}
"""Of table columns by name."""

__all__ = ["Colour", "render"]
