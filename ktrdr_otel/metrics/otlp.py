"""The push face: the same points as OTLP `MetricsData`, made anew at each push; no SDK instrument between.

An instrument of the SDK would keep every set of attributes that it ever saw, and fold all of them into one after 2,000.
"""

import bisect
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.instruments import Instrument, Kind
from ktrdr_otel.metrics.state import Exemplar, Health, MetricsState, Point
from ktrdr_otel.semconv import SCOPE_NAME

Series = tuple[Instrument, tuple[str, ...]]

_BOUNDS: Final[Mapping[Instrument, Sequence[float]]] = {
    instruments.CHECKPOINT_DURATION: instruments.CHECKPOINT_BOUNDS,
    instruments.OPERATION_DURATION: instruments.OPERATION_BOUNDS,
}
GONE: Final = math.nan  # the value of a series that has ended; on the wire the flag "no recorded value"


@dataclass(slots=True)
class _Durations:
    """One series of a histogram."""

    counts: list[int]
    total: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    exemplars: dict[int, SdkExemplar] = field(default_factory=dict)  # the newest of each bucket


class OtlpFace:
    """Makes what is pushed. Its memory is that of the state: what the state forgets is marked as gone, once."""

    def __init__(self, state: MetricsState, resource: Resource, health: Health) -> None:
        self._state = state
        self._health = health
        self._resource = resource
        self._scope = InstrumentationScope(SCOPE_NAME)
        self._began_ns = time.time_ns()
        self._durations: dict[Series, _Durations] = {}
        self._pushed: set[Series] = set()
        state.observe = self._observe
        state.forget = self._forget

    def metrics(self) -> MetricsData:
        """All there is to push now."""
        now_ns = time.time_ns()
        there = [*self._state.points(), *self._state.counters(), *self._health()]
        points = [point for point in there if not point[0].scrape_only]
        pushed = {(instrument, values) for instrument, values, _ in points}
        points.extend((*series, GONE) for series in self._pushed - pushed)
        self._pushed = pushed
        made = [*self._numbers(points, now_ns), *self._histograms(now_ns)]
        scope = ScopeMetrics(self._scope, made, schema_url="")
        return MetricsData([ResourceMetrics(self._resource, [scope], schema_url="")])

    def farewell(self) -> MetricsData:
        """Every gauge is gone: the process ends, and nobody would push what becomes of it."""
        now_ns = time.time_ns()
        gone = [
            (*series, GONE) for series in self._pushed if series[0].kind is Kind.GAUGE and not _is_end(series)
        ]
        self._pushed = set()
        scope = ScopeMetrics(self._scope, list(self._numbers(gone, now_ns)), schema_url="")
        return MetricsData([ResourceMetrics(self._resource, [scope], schema_url="")])

    def _numbers(self, points: Iterable[Point], now_ns: int) -> Iterable[Metric]:
        families: dict[Instrument, list[NumberDataPoint]] = {}
        for instrument, values, value in points:
            attributes = _attributes(instrument, values)
            began_ns = self._began_ns if instrument.kind is Kind.COUNTER else 0
            families.setdefault(instrument, []).append(NumberDataPoint(attributes, began_ns, now_ns, value))
        for instrument, data_points in families.items():
            data: Sum | Gauge = (
                Sum(data_points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
                if instrument.kind is Kind.COUNTER
                else Gauge(data_points)
            )
            yield Metric(instrument.name, instrument.help, instrument.unit, data)

    def _histograms(self, now_ns: int) -> Iterable[Metric]:
        families: dict[Instrument, list[HistogramDataPoint]] = {}
        for (instrument, values), durations in self._durations.items():
            families.setdefault(instrument, []).append(
                HistogramDataPoint(
                    attributes=_attributes(instrument, values),
                    start_time_unix_nano=self._began_ns,
                    time_unix_nano=now_ns,
                    count=sum(durations.counts),
                    sum=durations.total,
                    bucket_counts=list(durations.counts),
                    explicit_bounds=[float(bound) for bound in _BOUNDS[instrument]],
                    min=durations.lowest,
                    max=durations.highest,
                    exemplars=list(durations.exemplars.values()),
                )
            )
            durations.exemplars = {}
        for instrument, data_points in families.items():
            data = Histogram(data_points, AggregationTemporality.CUMULATIVE)
            yield Metric(instrument.name, instrument.help, instrument.unit, data)

    def _observe(
        self, instrument: Instrument, values: tuple[str, ...], value: float, exemplar: Exemplar | None
    ) -> None:
        bounds = _BOUNDS[instrument]
        durations = self._durations.get((instrument, values))
        if durations is None:
            durations = self._durations[instrument, values] = _Durations([0] * (len(bounds) + 1))
        bucket = bisect.bisect_left(bounds, value)
        durations.counts[bucket] += 1
        durations.total += value
        durations.lowest = min(durations.lowest, value)
        durations.highest = max(durations.highest, value)
        if exemplar is not None and exemplar.span_id is not None:
            durations.exemplars[bucket] = SdkExemplar(
                {}, value, time.time_ns(), int(exemplar.span_id, 16), int(exemplar.trace_id, 16)
            )

    def _forget(self, instrument: Instrument, attributes: Mapping[str, str]) -> None:
        wanted = attributes.items()
        for series in [each for each in self._durations if each[0] is instrument]:
            if wanted <= _attributes(*series).items():
                del self._durations[series]


def _attributes(instrument: Instrument, values: tuple[str, ...]) -> dict[str, str]:
    """An empty label is no label, as in Prometheus."""
    return {name: value for name, value in zip(instrument.attributes, values, strict=True) if value}


def _is_end(series: Series) -> bool:
    return series[0] is instruments.ENDED
