"""What the dashboards are made of: panels with one look, on queries by job and instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    GraphGradientMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
P = TypeVar("P", timeseries.Panel, stat.Panel, table.Panel)

INSTANCE: Final = 'job=~"$job", instance=~"$instance"'
CONTAINERS: Final = f'{INSTANCE}, name!=""'
"""Not the groups above them, whose figures have theirs."""
NAME: Final = f'{INSTANCE}, name=~"$name"'


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Lines over time."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    stacked: bool = False
    warn_at: float | None = None
    width: int = 12

    def build(self) -> timeseries.Panel:
        panel = (
            _described(timeseries.Panel(), self, 8, self.warn_at)
            .min(0)
            .fill_opacity(25 if self.stacked else 8)
            .line_width(1)
            .gradient_mode(GraphGradientMode.OPACITY)
            .show_points(VisibilityMode.NEVER)
            .span_nulls(False)
            .legend(
                common.VizLegendOptions()
                .display_mode(LegendDisplayMode.TABLE)
                .placement(LegendPlacement.BOTTOM)
                .calcs(["lastNotNull", "max"])
                .show_legend(True)
            )
            .tooltip(
                common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
            )
        )
        if self.stacked:
            panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
        return _with_targets(panel, self.queries)


@dataclass(frozen=True, slots=True)
class Number:
    """One figure now."""

    title: str
    description: str
    unit: str
    query: str
    warn_at: float | None = None
    width: int = 4

    def build(self) -> stat.Panel:
        panel = _described(stat.Panel(), self, 4, self.warn_at).reduce_options(
            common.ReduceDataOptions().calcs(["lastNotNull"])
        )
        return _with_targets(panel, [Query(self.query, "")])


@dataclass(frozen=True, slots=True)
class Table:
    """Series of now, one a line."""

    title: str
    description: str
    unit: str
    query: str
    width: int = 12

    def build(self) -> table.Panel:
        return _described(table.Panel(), self, 8).with_target(
            _target("A", Query(self.query, "")).instant().format(PromQueryFormat.TABLE)
        )


Panel = Graph | Number | Table


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    by_name: bool = False
    """Whether it has a variable for the container."""

    def build(self) -> dashboard.Dashboard:
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["cgagent"])
            .refresh("30s")
            .time("now-1h", "now")
            .timezone("browser")
            .editable()
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .link(
                dashboard.DashboardLink("cgagent")
                .type(DashboardLinkType.DASHBOARDS)
                .tags(["cgagent"])
                .as_dropdown(True)
                .include_vars(True)
                .keep_time(True)
            )
            .with_variable(
                dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
            )
            .with_variable(_variable("job", "Job", "label_values(cgagent_build_info, job)"))
            .with_variable(
                _variable(
                    "instance",
                    "Instance",
                    'label_values(cgagent_build_info{job=~"$job"}, instance)',
                )
            )
        )
        if self.by_name:
            query = f"label_values(cgagent_container_state{{{INSTANCE}}}, name)"
            board.with_variable(_variable("name", "Container", query))
        for row in self.rows:
            board.with_row(dashboard.Row(row.title))
            for panel in row.panels:
                board.with_panel(panel.build())
        return board


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )


def _described(panel: P, what: Panel, height: int, warn_at: float | None = None) -> P:
    """What every panel has."""
    return (
        panel.title(what.title)
        .description(what.description)
        .unit(what.unit)
        .datasource(SOURCE)
        .span(what.width)
        .height(height)
        .thresholds(_thresholds(warn_at))
    )


def _with_targets(panel: P, queries: Sequence[Query]) -> P:
    for place, query in enumerate(queries):
        panel.with_target(_target(chr(ord("A") + place), query))
    return panel


def _target(ref: str, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .ref_id(ref)
        .datasource(SOURCE)
    )


def _thresholds(warn_at: float | None) -> dashboard.ThresholdsConfig:
    steps = [Threshold(color="green", value=None)]
    if warn_at is not None:
        steps.append(Threshold(color="orange", value=warn_at))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
