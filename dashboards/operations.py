"""The board **Operations**: what runs, how far, what stalls, what ended how."""

from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from dashboards.board import board
from dashboards.links import page_of, trace_of
from dashboards.panels import BAD, ODD, bars, grid, limited, lines, numbers, of_operations, query
from dashboards.queries import (
    ID,
    ITEM,
    STATUS,
    STEP,
    SYMBOL,
    TIMEFRAME,
    TRACE,
    TYPE,
    ended,
    latest,
    legend,
    number,
    quantile,
    share,
    total,
)
from ktrdr_otel.metrics import instruments as of

PLACE = {
    ID: "operation",
    TYPE: "type",
    SYMBOL: "symbol",
    TIMEFRAME: "timeframe",
    STEP: "step",
    ITEM: "item",
    TRACE: "trace",
}
LINKS = {"operation": page_of("${__value.text}"), "trace": trace_of("${__value.text}")}

LEASE_SECONDS: Final = 15  # as it is by default: no heartbeat for so long is a death
MISSING_SECONDS: Final = 120  # of the alert HeartbeatMissing


def operations() -> dashboard.Dashboard:
    """The board."""
    made = board("ktrdr-operations", "Operations", "What runs, how far, what stalls, what ended how.")
    return _ended(_used(_moving(_now(made))))


def _now(made: dashboard.Dashboard) -> dashboard.Dashboard:
    everything = ""
    return (
        made.with_row(dashboard.Row("Now"))
        .with_panel(numbers("Running", "How many run?", "none", query(number(of.STARTED), "running")))
        .with_panel(
            numbers(
                "Stalled",
                "How many live and do not move?",
                "none",
                query(f"sum({latest(of.STALLED, everything)})", "stalled"),
                limits={BAD: 1},
            )
        )
        .with_panel(
            numbers(
                "Suspended",
                "How many are stopped by a signal?",
                "none",
                query(f"sum({latest(of.SUSPENDED, everything)})", "suspended"),
                limits={ODD: 1},
            )
        )
        .with_panel(
            numbers(
                "Slow",
                "How many take longer than ever, as they may?",
                "none",
                query(f"sum({latest(of.SLOW, everything)})", "slow"),
                limits={ODD: 1},
            )
        )
        .with_panel(
            grid(
                "Where each is",
                "Which symbol, timeframe, step and item?",
                query(latest(of.STEP_INFO, by=list(PLACE)), instant=True),
                columns=PLACE,
                links=LINKS,
                height=6,
            )
        )
        .with_panel(
            of_operations(
                bars("Progress", "How far is each?", "percentunit", query(latest(of.PROGRESS), legend(ID)))
            )
            .min(0)
            .max(1)
        )
        .with_panel(
            of_operations(
                lines(
                    "Remaining",
                    "How long will each still take?",
                    "s",
                    query(latest(of.REMAINING), legend(ID)),
                )
            )
        )
    )


def _moving(made: dashboard.Dashboard) -> dashboard.Dashboard:
    silence = f"time() - {latest(of.LAST_PROGRESS)}"
    return (
        made.with_row(dashboard.Row("Does it move?"))
        .with_panel(
            of_operations(
                lines(
                    "Progress over time",
                    "Does each move?",
                    "percentunit",
                    query(latest(of.PROGRESS), legend(ID)),
                )
            )
            .min(0)
            .max(1)
        )
        .with_panel(
            of_operations(
                limited(
                    lines(
                        "Silence against allowance",
                        "How long has nothing been finished, and how long may that be?",
                        "s",
                        query(silence, f"{legend(ID)} silence"),
                        query(latest(of.ALLOWANCE), f"{legend(ID)} allowance"),
                    ),
                    "allowance",
                )
            )
        )
        .with_panel(
            of_operations(
                bars(
                    "Silence of what is allowed",
                    "Which is nearest to being stalled?",
                    "percentunit",
                    query(share(silence, latest(of.ALLOWANCE)), legend(ID)),
                    span=8,
                    limits={ODD: 0.8, BAD: 1},
                )
            ).max(1)
        )
        .with_panel(
            of_operations(
                lines(
                    "Heartbeat age",
                    "Is each process there?",
                    "s",
                    query(f"time() - {latest(of.HEARTBEAT)}", legend(ID)),
                    span=8,
                    limits={ODD: LEASE_SECONDS, BAD: MISSING_SECONDS},
                )
            )
        )
        .with_panel(
            of_operations(
                lines(
                    "Units finished",
                    "How many units of work are done?",
                    "none",
                    query(latest(of.ITEMS_COMPLETED), legend(ID)),
                    span=8,
                )
            )
        )
    )


def _used(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return (
        made.with_row(dashboard.Row("What it uses"))
        .with_panel(
            of_operations(
                lines(
                    "CPU",
                    "How many cores does each process keep busy?",
                    "none",
                    query(latest(of.CPU), legend(ID)),
                    span=8,
                )
            )
            .axis_label("cores")
            .min(0)
        )
        .with_panel(
            of_operations(
                limited(
                    lines(
                        "Memory",
                        "How much memory does each process hold, and how much may it?",
                        "bytes",
                        query(latest(of.MEMORY), legend(ID)),
                        query(latest(of.MEMORY_LIMIT), f"{legend(ID)} limit"),
                        span=8,
                    ),
                    "limit",
                )
            ).min(0)
        )
        .with_panel(
            of_operations(
                bars(
                    "Memory of what is allowed",
                    "Which is nearest to being killed for its memory?",
                    "percentunit",
                    query(share(latest(of.MEMORY), latest(of.MEMORY_LIMIT)), legend(ID)),
                    span=8,
                    limits={ODD: 0.8, BAD: 0.95},
                    nothing="no process has a limit",
                )
            ).max(1)
        )
    )


def _ended(made: dashboard.Dashboard) -> dashboard.Dashboard:
    columns = {ID: "operation", STATUS: "status", **PLACE}
    return (
        made.with_row(dashboard.Row("Ended"))
        .with_panel(
            grid(
                "Ended lately",
                "How did it end, and where?",
                query(ended("", list(columns)), instant=True),
                columns=columns,
                links=LINKS,
                value="ended",
                unit="dateTimeFromNow",
            )
        )
        .with_panel(
            bars(
                "Ends by status",
                "How did operations end?",
                "none",
                query(total(of.OPERATIONS, [TYPE, STATUS]), legend(TYPE, STATUS)),
            )
            .override_by_regexp("/ (failed|lost)$/", [_fixed(BAD)])
            .override_by_regexp("/ cancelled$/", [_fixed(ODD)])
            .override_by_regexp("/ completed$/", [_fixed("green")])
        )
        .with_panel(
            lines(
                "Time to the end",
                "How long do operations take?",
                "s",
                query(quantile(0.5, of.OPERATION_DURATION, [TYPE]), f"median of all {legend(TYPE)}"),
            )
        )
    )


def _fixed(color: str) -> DynamicConfigValue:
    return DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
