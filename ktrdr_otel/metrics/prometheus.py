"""The scrape face: `/metrics`, in Prometheus' text format or as OpenMetrics with exemplars."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as OpenMetricsExemplar

from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.instruments import Instrument
from ktrdr_otel.metrics.state import Exemplar, Health, MetricsState

_BOUNDS: Final = {
    instruments.CHECKPOINT_DURATION: instruments.CHECKPOINT_BOUNDS,
    instruments.OPERATION_DURATION: instruments.OPERATION_BOUNDS,
}


class PrometheusFace(Collector):
    """Numbers made when they are asked for, on a registry of its own: nothing stale, nothing for ever."""

    def __init__(self, state: MetricsState, health: Health) -> None:
        self._state = state
        self._health = health
        self._registry = CollectorRegistry()
        self._histograms = {
            instrument: Histogram(
                instrument.prometheus_name,
                instrument.help,
                instrument.labels,
                unit=instrument.prometheus_unit,
                buckets=bounds,
                registry=None,  # they are collected here, without what they tell besides
            )
            for instrument, bounds in _BOUNDS.items()
        }
        self._registry.register(self)
        state.observe = self._observe
        state.forget = self._forget

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text of all metrics, in the format that was asked for, and its content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def describe(self) -> list[Metric]:
        """Nothing: the registry would ask for every number to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, as of now."""
        gauges: dict[Instrument, GaugeMetricFamily] = {}
        counters: dict[Instrument, CounterMetricFamily] = {}
        for instrument, values, value in [*self._state.points(), *self._state.counters(), *self._health()]:
            if instrument.kind is instruments.Kind.COUNTER:
                self._count(counters, instrument, values, value)
                continue
            family = gauges.get(instrument)
            if family is None:
                family = gauges[instrument] = GaugeMetricFamily(
                    instrument.prometheus_name,
                    instrument.help,
                    labels=instrument.labels,
                    unit=instrument.prometheus_unit,
                )
            family.add_metric(list(values), value)
        yield from gauges.values()
        yield from counters.values()
        for histogram in self._histograms.values():
            yield from _without_created(histogram)

    def _count(
        self,
        families: dict[Instrument, CounterMetricFamily],
        instrument: Instrument,
        values: tuple[str, ...],
        value: float,
    ) -> None:
        family = families.get(instrument)
        if family is None:
            family = families[instrument] = CounterMetricFamily(
                instrument.prometheus_name,
                instrument.help,
                labels=instrument.labels,
                unit=instrument.prometheus_unit,
            )
        traced = self._state.exemplar(instrument, values)
        exemplar = None if traced is None else OpenMetricsExemplar({"trace_id": traced.trace_id}, 1.0)
        family.add_metric(list(values), value, exemplar=exemplar)

    def _observe(
        self, instrument: Instrument, values: tuple[str, ...], value: float, exemplar: Exemplar | None
    ) -> None:
        labels = None if exemplar is None else {"trace_id": exemplar.trace_id}
        self._histograms[instrument].labels(*values).observe(value, labels)

    def _forget(self, instrument: Instrument, attributes: Mapping[str, str]) -> None:
        labels = {instruments.label_of(name): value for name, value in attributes.items()}
        self._histograms[instrument].remove_by_labels(labels)


def _without_created(histogram: Histogram) -> Iterator[Metric]:
    """The push face has no such series. `disable_created_metrics` speaks for the whole program, not for us."""
    for family in histogram.collect():
        family.samples = [each for each in family.samples if not each.name.endswith("_created")]
        yield family
