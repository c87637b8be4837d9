"""What boards have in common: variables, links to each other, marks where something stalled or ended."""

from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
)

from dashboards.links import PAGE
from dashboards.panels import SOURCE
from dashboards.queries import ID, OF_CHOSEN, SERVER_JOB, STATUS, ended, latest, legend
from ktrdr_otel.metrics import instruments

TAG: Final = "ktrdr-otel"
PAGE_ADDRESS: Final = "http://localhost:9464"


def board(uid: str, title: str, description: str, *, of_operations: bool = True) -> dashboard.Dashboard:
    """An empty board; `of_operations` gives it the variable that chooses them."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .refresh("5s")
        .time("now-30m", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Boards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    if not of_operations:
        return made
    return _of_operations(
        made.with_variable(
            dashboard.QueryVariable("job")
            .label("Seen by")
            .description("Whose counters are shown: the server's, or those of a program that pushes.")
            .datasource(SOURCE)
            .query(f"label_values({instruments.ACTIVE.series}, job)")
            .current(VariableOption(text=SERVER_JOB, value=SERVER_JOB))
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    )


def _of_operations(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return (
        made.with_variable(
            dashboard.QueryVariable("operation")
            .label("Operation")
            .description("Which operations the board shows.")
            .datasource(SOURCE)
            .query(f"label_values({instruments.STARTED.series}, {ID})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
        .with_variable(
            dashboard.TextBoxVariable(PAGE)
            .label("Page")
            .description("Where the operations server is, for the links to its pages.")
            .default_value(PAGE_ADDRESS)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Stalls")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("red")
            .expr(f"{latest(instruments.STALLED)} == 1")
            .step("5s")  # else one look a minute, between which a stall may come and go
            .title_format("stalled")
            .text_format(legend(ID))
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Ends")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("blue")
            .expr(ended(OF_CHOSEN, [ID, STATUS]))
            .use_value_for_time(True)  # when it ended, not when that was seen
            .title_format(legend(STATUS))
            .text_format(legend(ID))
        )
    )
