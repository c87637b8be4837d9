"""What panels have in common: source, size, unit, one question each."""

from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import VizOrientation
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

P = TypeVar("P", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, heatmap.Panel)

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
WHOLE: Final = 24  # columns of a board
HEIGHT: Final = 8


def query(
    expression: str, legend: str = "", *, instant: bool = False, exemplars: bool = False
) -> prometheus.Dataquery:
    """One query of a panel."""
    made = prometheus.Dataquery().expr(expression).legend_format(legend or "__auto").datasource(SOURCE)
    if instant:
        made = made.instant().format(PromQueryFormat.TABLE) if not legend else made.instant()
    return made.exemplar(exemplars)


def lines(
    title: str, question: str, unit: str, *queries: prometheus.Dataquery, span: int = 12
) -> timeseries.Panel:
    """Values over time."""
    return (
        _with(timeseries.Panel(), title, question, unit, queries, span)
        .fill_opacity(8)
        .line_width(2)
        .span_nulls(False)
    )


def numbers(
    title: str,
    question: str,
    unit: str,
    *queries: prometheus.Dataquery,
    span: int = 6,
    bad_from: float | None = None,
) -> stat.Panel:
    """The values now, each large; red from `bad_from` on."""
    panel = _with(stat.Panel(), title, question, unit, queries, span)
    steps = [Threshold(value=None, color="green")]
    if bad_from is not None:
        steps.append(Threshold(value=bad_from, color="red"))
    limits = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    return panel.thresholds(limits).no_value("0")


def bars(
    title: str, question: str, unit: str, *queries: prometheus.Dataquery, span: int = 12
) -> bargauge.Panel:
    """The values now, side by side."""
    panel = _with(bargauge.Panel(), title, question, unit, queries, span)
    return panel.orientation(VizOrientation.HORIZONTAL)


def grid(
    title: str, question: str, unit: str, *queries: prometheus.Dataquery, span: int = WHOLE
) -> table.Panel:
    """One line per series."""
    return _with(table.Panel(), title, question, unit, queries, span)


def heat(title: str, question: str, *queries: prometheus.Dataquery, span: int = 12) -> heatmap.Panel:
    """How durations are spread over time."""
    for each in queries:
        each.format(PromQueryFormat.HEATMAP)
    return _with(heatmap.Panel(), title, question, "s", queries, span)


def _with(panel: P, title: str, question: str, unit: str, queries: tuple[Any, ...], span: int) -> P:
    panel = panel.title(title).description(question).unit(unit).datasource(SOURCE).span(span).height(HEIGHT)
    for number, each in enumerate(queries):
        panel = panel.with_target(each.ref_id(chr(ord("A") + number)))
    return panel
