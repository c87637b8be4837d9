"""The board **Plugin health**: is what the others show the truth?"""

from grafana_foundation_sdk.builders import dashboard

from dashboards.board import board
from dashboards.panels import lines, numbers, query
from dashboards.queries import of_job
from ktrdr_otel.metrics import instruments as of
from ktrdr_otel.metrics.instruments import SIGNAL, label_of


def health() -> dashboard.Dashboard:
    """The board."""
    signal = label_of(SIGNAL)
    return (
        board(
            "ktrdr-health", "Plugin health", "Is what the other boards show the truth?", of_operations=False
        )
        .with_panel(
            numbers(
                "Store", "Does it answer?", "none", query(f"min({of_job(of.STORE_UP.series)})", "up"), span=6
            )
        )
        .with_panel(
            numbers(
                "Dropped",
                "Was anything not kept?",
                "none",
                query(f"sum({of_job(of.DROPPED.series)})", "dropped"),
                bad_from=1,
            )
        )
        .with_panel(
            numbers(
                "Failed flushes",
                "Did the store refuse anything?",
                "none",
                query(f"sum({of_job(of.STORE_FAILURES.series)})", "failed"),
                bad_from=1,
            )
        )
        .with_panel(
            numbers(
                "Subscribers",
                "Who looks on?",
                "none",
                query(f"sum({of_job(of.SUBSCRIBERS.series)})", "streams"),
            )
        )
        .with_panel(
            lines(
                "Freshness",
                "How long ago was the store looked at?",
                "s",
                query(f"max({of_job(of.FRESHNESS.series)})", "age"),
            )
        )
        .with_panel(
            lines(
                "Dropped over time",
                "What was not kept, and when?",
                "none",
                query(f"sum by ({signal}) ({of_job(of.DROPPED.series)})", f"{{{{{signal}}}}}"),
            )
        )
        .with_panel(
            lines(
                "Kinds of items beyond the limit",
                "Are there too many kinds of items?",
                "none",
                query(f"sum({of_job(of.CARDINALITY_OVERFLOW.series)})", "counted as other"),
            )
        )
        .with_panel(
            lines(
                "Subscribers over time",
                "Who looks on?",
                "none",
                query(f"sum({of_job(of.SUBSCRIBERS.series)})", "streams"),
            )
        )
    )
