"""The board **Operations**: what runs, how far, what stalls, what ended how."""

from grafana_foundation_sdk.builders import dashboard

from dashboards.board import board
from dashboards.panels import bars, grid, lines, numbers, query
from dashboards.queries import ID, STATUS, TYPE, latest, of_job, quantile
from ktrdr_otel.metrics import instruments as of


def operations() -> dashboard.Dashboard:
    """The board."""
    everything = ""
    return (
        board("ktrdr-operations", "Operations", "What runs, how far, what stalls, what ended how.")
        .with_row(dashboard.Row("Now"))
        .with_panel(
            numbers(
                "Running",
                "How many run?",
                "none",
                query(f"sum({of_job(of.ACTIVE.series)})", "running"),
                span=6,
            )
        )
        .with_panel(
            numbers(
                "Stalled",
                "How many live and do not move?",
                "none",
                query(f"sum({latest(of.STALLED, everything)})", "stalled"),
                bad_from=1,
            )
        )
        .with_panel(
            numbers(
                "Suspended",
                "How many are stopped by a signal?",
                "none",
                query(f"sum({latest(of.SUSPENDED, everything)})", "suspended"),
            )
        )
        .with_panel(
            numbers(
                "Slow",
                "How many take longer than ever, as they may?",
                "none",
                query(f"sum({latest(of.SLOW, everything)})", "slow"),
            )
        )
        .with_panel(
            bars("Progress", "How far is each?", "percentunit", query(latest(of.PROGRESS), f"{{{{{ID}}}}}"))
            .min(0)
            .max(1)
        )
        .with_panel(
            lines(
                "Remaining",
                "How long will each still take?",
                "s",
                query(latest(of.REMAINING), f"{{{{{ID}}}}}"),
            )
        )
        .with_panel(
            lines(
                "Progress over time",
                "Does each move?",
                "percentunit",
                query(latest(of.PROGRESS), f"{{{{{ID}}}}}"),
            )
        )
        .with_panel(
            lines(
                "Silence against allowance",
                "How long has nothing been finished, and how long may that be?",
                "s",
                query(f"time() - {latest(of.LAST_PROGRESS)}", f"silence {{{{{ID}}}}}"),
                query(latest(of.ALLOWANCE), f"allowance {{{{{ID}}}}}"),
            )
        )
        .with_panel(
            lines(
                "Heartbeat age",
                "Is each process there?",
                "s",
                query(f"time() - {latest(of.HEARTBEAT)}", f"{{{{{ID}}}}}"),
            )
        )
        .with_panel(
            lines(
                "Units finished",
                "How many units of work are done?",
                "none",
                query(latest(of.ITEMS_COMPLETED), f"{{{{{ID}}}}}"),
            )
        )
        .with_panel(
            grid(
                "Where each is",
                "Which symbol, timeframe, step and item?",
                "none",
                query(latest(of.STEP_INFO, by=of.STEP_INFO.labels), instant=True),
            )
        )
        .with_row(dashboard.Row("Ended"))
        .with_panel(
            grid(
                "Ended lately",
                "How did it end, and where?",
                "dateTimeFromNow",
                query(f"1000 * {latest(of.ENDED, everything, of.ENDED.labels)}", instant=True),
            )
        )
        .with_panel(
            bars(
                "Ends by status",
                "How did operations end?",
                "none",
                query(
                    f"sum by ({TYPE}, {STATUS}) ({of_job(of.OPERATIONS.series)})",
                    f"{{{{{TYPE}}}}} {{{{{STATUS}}}}}",
                ),
            )
        )
        .with_panel(
            lines(
                "Time to the end",
                "How long do operations take?",
                "s",
                query(quantile(0.5, of.OPERATION_DURATION, "", [TYPE], "1h"), f"median {{{{{TYPE}}}}}"),
            )
        )
    )
