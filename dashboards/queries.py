"""Queries, put together from the table of instruments: a name that changes there changes here."""

from collections.abc import Sequence
from typing import Final

from ktrdr_otel import semconv
from ktrdr_otel.metrics.instruments import Instrument, label_of

ID: Final = label_of(semconv.OPERATION_ID)
TYPE: Final = label_of(semconv.OPERATION_TYPE)
STATUS: Final = label_of(semconv.OPERATION_STATUS)
ITEM: Final = label_of(semconv.ITEM_NAME)
TIMEFRAME: Final = label_of(semconv.TIMEFRAME)
PROGRESS_TYPE: Final = label_of(semconv.PROGRESS_TYPE)

# What is summed is summed over one face: the server's, which sees every process, or another job that pushes.
JOB: Final = 'job=~"$job"'
OF_CHOSEN: Final = f'{{{ID}=~"$operation"}}'


def of_job(series: str, selector: str = "") -> str:
    """The series of the chosen job; the selector's own conditions stay."""
    inner = selector.removeprefix("{").removesuffix("}")
    return f"{series}{{{', '.join(filter(None, [JOB, inner]))}}}"


def latest(instrument: Instrument, selector: str = OF_CHOSEN, by: Sequence[str] = (ID,)) -> str:
    """One series per operation, whichever face it was seen on."""
    return f"max by ({', '.join(by)}) ({instrument.series}{selector})"


def total(instrument: Instrument, by: Sequence[str] = (), window: str = "$__range") -> str:
    """How often in the window."""
    return f"sum by ({', '.join(by)}) (increase({of_job(instrument.series)}[{window}]))"


def mean_seconds(histogram: Instrument, selector: str, by: Sequence[str], window: str = "$__range") -> str:
    """The mean of what the histogram saw in the window."""
    name = histogram.series
    summed, counted = (
        f"sum by ({', '.join(by)}) (rate({of_job(f'{name}_{part}', selector)}[{window}]))"
        for part in ("sum", "count")
    )
    return f"{summed} / ({counted} > 0)"


def buckets(histogram: Instrument, selector: str, window: str = "$__rate_interval") -> str:
    """Counts per bucket, for a heatmap."""
    return f"sum by (le) (rate({of_job(f'{histogram.series}_bucket', selector)}[{window}]))"


def quantile(
    share: float, histogram: Instrument, selector: str, by: Sequence[str], window: str = "$__range"
) -> str:
    """The quantile of what the histogram saw in the window."""
    grouped = ", ".join(["le", *by])
    counted = of_job(f"{histogram.series}_bucket", selector)
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({counted}[{window}])))"


def per_second(histogram: Instrument, by: Sequence[str], window: str = "$__rate_interval") -> str:
    """How many a second."""
    return f"sum by ({', '.join(by)}) (rate({of_job(f'{histogram.series}_count')}[{window}]))"
