"""What Prometheus has of us, literally: `golden.txt`, read by people, and held against both faces.

A line is a name as queries have it, type, unit, labels and help. A change there breaks somebody's boards: it
belongs in the changelog.
"""

import re
from pathlib import Path

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.sdk.resources import Resource
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families

from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.otlp import OtlpFace
from ktrdr_otel.metrics.prometheus import PrometheusFace
from ktrdr_otel.metrics.state import MetricsState
from tests.unit.metrics.builders import OPEN_METRICS, everything, own_health, received

GOLDEN = Path(__file__).with_name("golden.txt").read_text().splitlines()
SCRAPED_ONLY = {"ktrdr_operation_step_info"}
OF_BUCKETS = {"le"}  # Prometheus' own, in both


def line_of(name: str, kind: str, unit: str, labels: set[str], said: str) -> str:
    """As the file has it."""
    return f"{name} | {kind} | {unit or '-'} | {' '.join(sorted(labels)) or '-'} | {said}"


def translated(metric: Metric) -> str:
    """By the rules of Prometheus' OTLP receiver, written down here a second time."""
    kind = {"gauge": "gauge", "sum": "counter", "histogram": "histogram"}[str(metric.WhichOneof("data"))]
    unit = {"s": "seconds", "By": "bytes", "1": "ratio" if kind == "gauge" else ""}.get(metric.unit, "")
    assert unit or re.fullmatch(r"(\{\w+\})?", metric.unit), "a unit that these rules do not know"
    name = re.sub(r"[^a-zA-Z0-9_]", "_", metric.name) + (f"_{unit}" if unit else "")
    points = getattr(metric, str(metric.WhichOneof("data"))).data_points
    labels = {each.key.replace(".", "_") for point in points for each in point.attributes}
    return line_of(name + "_total" * (kind == "counter"), kind, unit, labels, metric.description)


def test_what_is_pushed_is_what_prometheus_has_of_us() -> None:
    """Names as its receiver makes them, types, units, labels and help."""
    state = MetricsState()
    face = OtlpFace(state, Resource.get_empty(), own_health)
    everything(state)
    pushed = {translated(metric) for metric in received(face.metrics()).values()}
    assert pushed == {line for line in GOLDEN if line.split()[0] not in SCRAPED_ONLY}


def test_what_is_scraped_is_what_prometheus_has_of_us() -> None:
    """The same names, types, units, labels and help: one board reads both faces; and nothing besides."""
    state = MetricsState()
    face = PrometheusFace(state, own_health)
    everything(state)
    scraped = {
        line_of(
            family.name + "_total" * (family.type == "counter"),
            family.type,
            family.unit,
            {label for each in family.samples for label, value in each.labels.items() if value} - OF_BUCKETS,
            family.documentation,
        )
        for family in families(face.render(OPEN_METRICS)[0].decode())  # type: ignore[no-untyped-call] # as published
    }
    assert scraped == set(GOLDEN)


def test_no_series_tells_when_it_was_made() -> None:
    """`_created` would be on one face alone; in neither format is it there."""
    state = MetricsState()
    face = PrometheusFace(state, own_health)
    everything(state)
    for accept in ("", OPEN_METRICS):
        assert "_created" not in face.render(accept)[0].decode()


def test_each_instrument_of_the_table_is_on_a_face() -> None:
    """The table names nothing that nobody serves."""
    assert {each.series for each in instruments.INSTRUMENTS} == {line.split()[0] for line in GOLDEN}


def test_each_label_is_a_name_of_semconv() -> None:
    """There is one place where names are looked up."""
    known = {value for value in vars(semconv).values() if isinstance(value, str)}
    assert {label for each in instruments.INSTRUMENTS for label in each.attributes} <= known


def test_the_values_of_labels_are_the_same_on_both_faces() -> None:
    """`ktrdr.operation.id` there, `ktrdr_operation_id` here."""
    state = MetricsState()
    pushed = OtlpFace(state, Resource.get_empty(), list)
    everything(state)
    attributes = {
        (name, attribute.key.replace(".", "_"), attribute.value.string_value)
        for name, metric in received(pushed.metrics()).items()
        for point in metric.gauge.data_points
        for attribute in point.attributes
    }
    scraped = {
        (instrument.name, label, value)
        for instrument, values, _ in state.points()
        if not instrument.scrape_only
        for label, value in zip(instrument.labels, values, strict=True)
        if value
    }
    assert attributes == scraped
