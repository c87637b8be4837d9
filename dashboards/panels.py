"""What panels have in common: source, size, unit, one question each."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.links import page_of
from dashboards.queries import ID

# From which value on which colour: what is worth a look, and what is bad. Without any, a value is neither: blue.
Limits = Mapping[str, float]
ODD: Final = "orange"
BAD: Final = "red"

P = TypeVar("P", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, heatmap.Panel)

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
WHOLE: Final = 24  # columns of a board
HEIGHT: Final = 8
NOTHING: Final = "–"
# Pixels of columns whose words are short, so that those of the others have the room.
_WIDTHS: Final = {"type": 90, "status": 100, "symbol": 90, "timeframe": 100, "ended": 130}


def query(
    expression: str, legend: str = "", *, instant: bool = False, exemplars: bool = False
) -> prometheus.Dataquery:
    """One query of a panel."""
    made = prometheus.Dataquery().expr(expression).legend_format(legend or "__auto").datasource(SOURCE)
    if instant:
        made = made.instant().format(PromQueryFormat.TABLE) if not legend else made.instant()
    return made.exemplar(exemplars)


def lines(
    title: str,
    question: str,
    unit: str,
    *queries: prometheus.Dataquery,
    span: int = 12,
    nothing: str = NOTHING,
    limits: Limits | None = None,
) -> timeseries.Panel:
    """Values over time; the limits are dashed lines where the values come near them."""
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    dashed = common.GraphThresholdsStyleConfig().mode(
        GraphThresholdsStyleMode.DASHED if limits else GraphThresholdsStyleMode.OFF
    )
    return (
        _with(timeseries.Panel(), title, question, unit, queries, span)
        .thresholds(_thresholds(limits))
        .thresholds_style(dashed)
        .fill_opacity(8)
        .line_width(2)
        .span_nulls(False)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .no_value(nothing)
    )


def counted(panel: timeseries.Panel) -> timeseries.Panel:
    """The panel, whose values are whole numbers, mostly few: an empty one does not reach to a hundred."""
    return panel.min(0).axis_soft_max(5).decimals(0)


def limited(panel: timeseries.Panel, word: str) -> timeseries.Panel:
    """The panel, whose series that end in the word are what the others should stay below: dashed, in red."""
    return panel.override_by_regexp(
        f"/ {word}$/",
        [
            DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": BAD}),
            DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]}),
            DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        ],
    )


def of_operations(panel: P) -> P:
    """The panel, whose every series leads to the page of its operation."""
    return panel.data_links([page_of(f"${{__field.labels.{ID}}}")])


def numbers(
    title: str,
    question: str,
    unit: str,
    *queries: prometheus.Dataquery,
    span: int = 6,
    height: int = 4,
    limits: Limits | None = None,
    nothing: str = "0",
) -> stat.Panel:
    """The values now, each large; `nothing` where no series is there."""
    panel = _with(stat.Panel(), title, question, unit, [each.instant() for each in queries], span, height)
    return _large(panel.thresholds(_thresholds(limits)).no_value(nothing))


def yes_or_no(
    title: str,
    question: str,
    yes: str,
    no: str,
    *queries: prometheus.Dataquery,
    span: int = 6,
    height: int = 4,
) -> stat.Panel:
    """1 in green and 0 in red, in words."""
    steps = [Threshold(value=None, color="red"), Threshold(value=1, color="green")]
    words = ValueMap(options={"1": ValueMappingResult(text=yes), "0": ValueMappingResult(text=no)})
    return _large(
        _with(stat.Panel(), title, question, "none", [each.instant() for each in queries], span, height)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .mappings([words])
        .no_value("not seen")
    )


def bars(
    title: str,
    question: str,
    unit: str,
    *queries: prometheus.Dataquery,
    span: int = 12,
    height: int = HEIGHT,
    limits: Limits | None = None,
    nothing: str = NOTHING,
) -> bargauge.Panel:
    """The values now, side by side."""
    panel = _with(bargauge.Panel(), title, question, unit, [each.instant() for each in queries], span, height)
    return (
        panel.orientation(VizOrientation.HORIZONTAL)
        .thresholds(_thresholds(limits))
        .text(common.VizTextDisplayOptions().title_size(12).value_size(16))
        .min(0)
        .no_value(nothing)
    )


def grid(
    title: str,
    question: str,
    *queries: prometheus.Dataquery,
    columns: Mapping[str, str],
    links: Mapping[str, dashboard.DashboardLink],
    value: str | None = None,
    unit: str = "none",
    span: int = WHOLE,
    height: int = HEIGHT,
) -> table.Panel:
    """One line per series: its labels by their headings, in this order, then its value where that has one."""
    heading = dict(columns) if value is None else {**columns, "Value": value}
    tidy = DataTransformerConfig(
        id_val="organize",
        options={
            "excludeByName": {"Time": True} | ({"Value": True} if value is None else {}),
            "indexByName": {name: place for place, name in enumerate(heading)},
            "renameByName": heading,
        },
    )
    panel = _with(table.Panel(), title, question, "none", queries, span, height).with_transformation(tidy)
    if value is not None:
        panel = panel.override_by_name(value, [DynamicConfigValue(id_val="unit", value=unit)])
    for column, link in links.items():
        panel = panel.override_by_name(column, [DynamicConfigValue(id_val="links", value=[link.build()])])
    for column in sorted(set(heading.values()) & _WIDTHS.keys()):
        panel = panel.override_by_name(
            column, [DynamicConfigValue(id_val="custom.width", value=_WIDTHS[column])]
        )
    return panel.no_value(NOTHING)


def heat(title: str, question: str, *queries: prometheus.Dataquery, span: int = 12) -> heatmap.Panel:
    """How durations are spread over time."""
    for each in queries:
        each.format(PromQueryFormat.HEATMAP)
    panel = _with(heatmap.Panel(), title, question, "s", queries, span)
    seconds = heatmap.YAxisConfig().unit("s")
    return panel.y_axis(seconds).scale_distribution(
        common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR)
    )


def _thresholds(limits: Limits | None) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green" if limits else "blue")]
    steps.extend(Threshold(value=value, color=color) for color, value in (limits or {}).items())
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _large(panel: stat.Panel) -> stat.Panel:
    return panel.graph_mode(BigValueGraphMode.NONE).text(common.VizTextDisplayOptions().value_size(36))


def _with(
    panel: P, title: str, question: str, unit: str, queries: Iterable[Any], span: int, height: int = HEIGHT
) -> P:
    panel = panel.title(title).description(question).unit(unit).datasource(SOURCE).span(span).height(height)
    for number, each in enumerate(queries):
        panel = panel.with_target(each.ref_id(chr(ord("A") + number)))
    return panel
