"""The board **Preprocessing**: what it is at, what takes the time."""

from grafana_foundation_sdk.builders import dashboard

from dashboards.board import board
from dashboards.operations import LINKS, PLACE
from dashboards.panels import bars, grid, heat, lines, of_operations, query
from dashboards.queries import (
    ID,
    ITEM,
    PHASE,
    PROGRESS_TYPE,
    TIMEFRAME,
    buckets,
    latest,
    legend,
    mean_seconds,
    mean_seconds_in_range,
    per_second,
    share,
)
from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments as of
from ktrdr_otel.metrics.instruments import Instrument

_INDICATORS = f'{{{PROGRESS_TYPE}="{semconv.INDICATOR_COMPUTATION}"}}'
_FUZZY = f'{{{PROGRESS_TYPE}="{semconv.FUZZY_GENERATION}"}}'


def _of_phase(instrument: Instrument) -> str:
    return latest(instrument, by=[ID, PHASE])


def preprocessing() -> dashboard.Dashboard:
    """The board."""
    steps = of.CHECKPOINT_DURATION
    return (
        board("ktrdr-preprocessing", "Preprocessing", "What it is at, and what takes the time.")
        .with_row(dashboard.Row("Now"))
        .with_panel(
            grid(
                "Step under way",
                "Which symbol, timeframe and indicator?",
                query(latest(of.STEP_INFO, by=list(PLACE)), instant=True),
                columns=PLACE,
                links=LINKS,
                height=6,
            )
        )
        .with_panel(
            of_operations(
                bars(
                    "Progress per phase",
                    "How far is each phase?",
                    "percentunit",
                    query(
                        share(_of_phase(of.PHASE_COMPLETED), _of_phase(of.PHASE_PLANNED)),
                        legend(ID, PHASE),
                    ),
                )
            ).max(1)
        )
        .with_panel(
            lines(
                "Units per second",
                "Is it moving, and how fast?",
                "ops",
                query(per_second(steps, [PROGRESS_TYPE]), legend(PROGRESS_TYPE)),
            )
        )
        .with_row(dashboard.Row("What takes the time"))
        .with_panel(
            bars(
                "Slowest indicators",
                "Which indicators take longest, on the mean?",
                "s",
                query(
                    f"topk(10, {mean_seconds_in_range(steps, _INDICATORS, [ITEM, TIMEFRAME])})",
                    f"{legend(ITEM)} [{legend(TIMEFRAME)}]",
                ),
                height=10,
            )
        )
        .with_panel(
            bars(
                "Slowest fuzzy sets",
                "Which fuzzy sets take longest, on the mean?",
                "s",
                query(
                    f"topk(10, {mean_seconds_in_range(steps, _FUZZY, [ITEM, TIMEFRAME])})",
                    f"{legend(ITEM)} [{legend(TIMEFRAME)}]",
                ),
                height=10,
            )
        )
        .with_panel(
            heat(
                "Time per indicator",
                "How are their durations spread?",
                query(buckets(steps, _INDICATORS), "{{le}}", exemplars=True),
            )
        )
        .with_panel(
            heat(
                "Time per fuzzy set",
                "How are their durations spread?",
                query(buckets(steps, _FUZZY), "{{le}}", exemplars=True),
            )
        )
        .with_panel(
            lines(
                "Mean per timeframe",
                "Which timeframe is slow?",
                "s",
                query(
                    mean_seconds(steps, _INDICATORS, [TIMEFRAME]),
                    legend(TIMEFRAME),
                    exemplars=True,
                ),
                span=24,
            )
        )
    )
