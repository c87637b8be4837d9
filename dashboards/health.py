"""The board **Plugin health**: is what the others show the truth?"""

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from dashboards.board import board
from dashboards.panels import BAD, ODD, counted, lines, numbers, query, yes_or_no
from dashboards.queries import DROPPED_CAUSE, DROPPED_SIGNAL, FAULTY_PART, WHO, legend, rate, told
from ktrdr_otel.metrics import instruments as of

# What a process keeps before it drops, as it is by default.
MOST_STEPS: Final = 200_000
MOST_SPANS: Final = 8192


def health() -> dashboard.Dashboard:
    """The board."""
    made = board(
        "ktrdr-health", "Plugin health", "Is what the other boards show the truth?", of_operations=False
    )
    return _costs(_exports(_store(_now(made))))


def _now(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return (
        made.with_row(dashboard.Row("Now"))
        .with_panel(
            yes_or_no(
                "Store", "Does it answer?", "answers", "fails", query(f"min({of.STORE_UP.series})", "store")
            )
        )
        .with_panel(
            numbers(
                "Dropped",
                "Was anything not kept?",
                "none",
                query(f"sum({of.DROPPED.series})", "dropped"),
                limits={BAD: 1},
            )
        )
        .with_panel(
            numbers(
                "Faults",
                "Has the plugin kept a fault of its own from a program?",
                "none",
                query(f"sum({of.FAULTS.series})", "faults"),
                limits={BAD: 1},
            )
        )
        .with_panel(
            numbers("Subscribers", "Who looks on?", "none", query(f"sum({of.SUBSCRIBERS.series})", "streams"))
        )
    )


def _store(made: dashboard.Dashboard) -> dashboard.Dashboard:
    flush_seconds = f"{rate(of.STORE_FLUSH_TIME)} / ({rate(of.STORE_FLUSHES)} > 0)"
    return (
        made.with_row(dashboard.Row("The store"))
        .with_panel(
            lines(
                "Freshness",
                "How long ago was the store looked at?",
                "s",
                query(f"max by ({WHO}) ({of.FRESHNESS.series})", legend(WHO)),
                limits={ODD: 5, BAD: 15},
            ).min(0)
        )
        .with_panel(
            lines(
                "Time per flush",
                "How long does the store take to write?",
                "s",
                query(flush_seconds, legend(WHO)),
            ).min(0)
        )
        .with_panel(
            counted(
                lines(
                    "Waiting",
                    "Does anything pile up on its way to the store?",
                    "none",
                    query(told(of.INBOX), f"{legend(WHO)} to be read"),
                    query(told(of.STORE_QUEUE), f"{legend(WHO)} to be stored"),
                    limits={ODD: MOST_STEPS / 10, BAD: MOST_STEPS},
                )
            )
        )
        .with_panel(
            counted(
                lines(
                    "Failed flushes",
                    "Did the store refuse anything, and when?",
                    "none",
                    query(told(of.STORE_FAILURES), legend(WHO)),
                    limits={BAD: 1},
                )
            )
        )
    )


def _exports(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return (
        made.with_row(dashboard.Row("Traces and metrics on their way"))
        .with_panel(
            counted(
                lines(
                    "Export queue",
                    "Do spans pile up?",
                    "none",
                    query(told(of.EXPORT_QUEUE), legend(WHO)),
                    limits={ODD: MOST_SPANS / 2, BAD: MOST_SPANS},
                )
            )
        )
        .with_panel(
            lines(
                "Spans exported", "Do spans get through?", "ops", query(rate(of.EXPORTED), legend(WHO))
            ).min(0)
        )
        .with_panel(
            counted(
                lines(
                    "Failed exports and pushes",
                    "Did a receiver refuse anything, and when?",
                    "none",
                    query(told(of.EXPORT_FAILURES), f"{legend(WHO)} spans"),
                    query(told(of.PUSH_FAILURES), f"{legend(WHO)} metrics"),
                    limits={ODD: 1},
                )
            )
        )
        .with_panel(
            counted(
                lines(
                    "Dropped over time",
                    "What was not kept, and why?",
                    "none",
                    query(
                        told(of.DROPPED, (DROPPED_SIGNAL, DROPPED_CAUSE)),
                        legend(DROPPED_SIGNAL, DROPPED_CAUSE),
                    ),
                    limits={BAD: 1},
                )
            )
        )
    )


def _costs(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return (
        made.with_row(dashboard.Row("What it costs"))
        .with_panel(
            lines(
                "CPU of the plugin's threads",
                "What share of a core does observing take, beside the checkpoints themselves?",
                "percentunit",
                query(rate(of.OWN_CPU_TIME), legend(WHO)),
            ).min(0)
        )
        .with_panel(
            counted(
                lines(
                    "Faults over time",
                    "Which part of the plugin failed, and when?",
                    "none",
                    query(told(of.FAULTS, (FAULTY_PART,)), legend(FAULTY_PART)),
                    limits={BAD: 1},
                )
            )
        )
        .with_panel(
            counted(
                lines(
                    "Kinds of items beyond the limit",
                    "Are there too many kinds of items?",
                    "none",
                    query(told(of.CARDINALITY_OVERFLOW), f"{legend(WHO)} counted as other"),
                    span=24,
                    limits={ODD: 1},
                )
            )
        )
    )
