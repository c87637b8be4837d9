"""Queries, put together from the table of instruments: a name that changes there changes here."""

from collections.abc import Sequence
from typing import Final

from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.instruments import Instrument, label_of

ID: Final = label_of(semconv.OPERATION_ID)
TRACE: Final = label_of(semconv.TRACE_ID)
SYMBOL: Final = label_of(semconv.SYMBOL_NAME)
STEP: Final = label_of(semconv.STEP)
TYPE: Final = label_of(semconv.OPERATION_TYPE)
STATUS: Final = label_of(semconv.OPERATION_STATUS)
ITEM: Final = label_of(semconv.ITEM_NAME)
TIMEFRAME: Final = label_of(semconv.TIMEFRAME)
PROGRESS_TYPE: Final = label_of(semconv.PROGRESS_TYPE)
PHASE: Final = label_of(semconv.PHASE)
GPU: Final = label_of(semconv.GPU_INDEX)
DROPPED_SIGNAL: Final = label_of(semconv.SIGNAL)
DROPPED_CAUSE: Final = label_of(semconv.CAUSE)
FAULTY_PART: Final = label_of(semconv.PART)
WHO: Final = "job"  # of the plugin's own numbers: which kind of process tells

SERVER_JOB: Final = (
    "ktrdr-otel-server"  # of prometheus.yml; what pushes is `ktrdr-otel`, or its service's name
)
# What is summed is summed over one face: the server's, which sees every process, or another job that pushes.
JOB: Final = 'job=~"$job"'
OF_CHOSEN: Final = f'{{{ID}=~"$operation"}}'


def of_job(series: str, selector: str = "") -> str:
    """The series of the chosen job; the selector's own conditions stay."""
    inner = selector.removeprefix("{").removesuffix("}")
    return f"{series}{{{', '.join(filter(None, [JOB, inner]))}}}"


def legend(*labels: str) -> str:
    """The values of the labels, as Grafana fills them in."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def latest(instrument: Instrument, selector: str = OF_CHOSEN, by: Sequence[str] = (ID,)) -> str:
    """One series per operation that runs, whichever face it was seen on.

    What a killed process has pushed would stay for five minutes; the server knows better within a second.
    """
    has_ended = f"unless on ({ID}) {instruments.ENDED.series}"
    return f"max by ({', '.join(by)}) ({instrument.series}{selector} {has_ended})"


def ended(selector: str, by: Sequence[str]) -> str:
    """When each ended, in milliseconds as Grafana counts time, whichever face it was seen on."""
    return f"1000 * max by ({', '.join(by)}) ({instruments.ENDED.series}{selector})"


def share(part: str, whole: str) -> str:
    """How much of the whole; of none there is no share."""
    return f"({part}) / ({whole} > 0)"


def number(instrument: Instrument) -> str:
    """How many of the operations that run, on whichever face, have the instrument."""
    return f"count({latest(instrument, '')})"


def total(instrument: Instrument, by: Sequence[str]) -> str:
    """What the chosen job has counted."""
    return _once(_of_each(instrument.series, "", by), by)


def mean_seconds(
    histogram: Instrument, selector: str, by: Sequence[str], window: str = "$__rate_interval"
) -> str:
    """The mean of what the histogram saw in the window."""
    summed, counted = (_rising(histogram, part, selector, by, window) for part in ("sum", "count"))
    return share(summed, counted)


def mean_seconds_in_range(histogram: Instrument, selector: str, by: Sequence[str]) -> str:
    """The mean of what the histogram saw in the time that the board shows.

    Also of what it saw once: `rate` would not see that, for the series is born with it.
    """
    summed, counted = (
        _once(_of_process(f"{part} - ({part} offset $__range or {part} * 0)", by), by)
        for part in (of_job(f"{histogram.series}_{part}", selector) for part in ("sum", "count"))
    )
    return share(summed, counted)


def buckets(histogram: Instrument, selector: str, window: str = "$__rate_interval") -> str:
    """Counts per bucket, for a heatmap."""
    return _rising(histogram, "bucket", selector, ["le"], window)


def quantile(part: float, histogram: Instrument, by: Sequence[str]) -> str:
    """The quantile of all that the histogram has seen."""
    counted = _of_each(f"{histogram.series}_bucket", "", ["le", *by])
    return f"histogram_quantile({part}, {_once(counted, ['le', *by])})"


def per_second(histogram: Instrument, by: Sequence[str], window: str = "$__rate_interval") -> str:
    """How many a second."""
    return _rising(histogram, "count", "", by, window)


def _rising(histogram: Instrument, part: str, selector: str, by: Sequence[str], window: str) -> str:
    """How fast that part of the histogram rises, a second.

    Summed first, per process: many an item is seen once, its series is born with it, and `rate` of that is nothing.
    """
    summed = _of_each(f"{histogram.series}_{part}", selector, by)
    return _once(f"rate(({summed})[{window}:])", by)


def _of_each(series: str, selector: str, by: Sequence[str]) -> str:
    return _of_process(of_job(series, selector), by)


def _of_process(expression: str, by: Sequence[str]) -> str:
    return f"sum by ({', '.join([*by, 'job', 'instance'])}) ({expression})"


def _once(of_each: str, by: Sequence[str]) -> str:
    """The sum over the processes of a job; of several servers on one store one, for each counts what all have seen."""
    seen_by = f'label_replace({of_each}, "seen_by", "$1", "instance", "(.*)")'
    seen_by = f'label_replace({seen_by}, "seen_by", "servers", "job", "{SERVER_JOB}")'
    return f"sum by ({', '.join(by)}) (max by ({', '.join([*by, 'seen_by'])}) ({seen_by}))"


def told(instrument: Instrument, by: Sequence[str] = (WHO,)) -> str:
    """The plugin's own number, of every kind of process that tells it."""
    return f"sum by ({', '.join(by)}) ({instrument.series})"


def rate(instrument: Instrument, by: Sequence[str] = (WHO,), window: str = "$__rate_interval") -> str:
    """How fast the plugin's own count rises, a second."""
    return f"sum by ({', '.join(by)}) (rate({instrument.series}[{window}]))"
