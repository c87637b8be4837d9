"""Both faces of the metrics: the same table, seen by a scraper and by an OTLP receiver."""

import gc
import os
import tracemalloc
from datetime import UTC, datetime, timedelta

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.otlp import OtlpFace
from ktrdr_otel.metrics.prometheus import PrometheusFace
from ktrdr_otel.metrics.state import MetricsState
from tests.memory import resident_bytes
from tests.unit.metrics.builders import OPEN_METRICS, ended, everything, operation, received, sample, step


def gone(metric: Metric) -> list[NumberDataPoint]:
    """Points that say that their series has ended."""
    mask = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    return [point for point in metric.gauge.data_points if point.flags & mask]


def test_a_series_that_has_ended_is_pushed_as_gone_once() -> None:
    """Prometheus would show its last value for five minutes."""
    state = MetricsState()
    face = OtlpFace(state, Resource.get_empty(), list)
    state.stored([operation()], [], 0)
    face.metrics()
    state.stored([ended(operation())], [], 0)
    after = received(face.metrics())
    assert len(gone(after["ktrdr.operation.progress"])) == 1
    assert not gone(after["ktrdr.operation.end.timestamp"])
    assert "ktrdr.operation.progress" not in received(face.metrics())


def test_the_last_push_of_a_process_takes_its_gauges_with_it_but_for_the_end() -> None:
    """Nobody would push what becomes of them; how it ended stays to be read."""
    state = MetricsState()
    face = OtlpFace(state, Resource.get_empty(), list)
    everything(state)
    there = received(face.metrics())
    last = received(face.farewell())
    gauges = {name for name, metric in there.items() if metric.HasField("gauge")}
    assert last.keys() == gauges - {"ktrdr.operation.end.timestamp"}
    assert all(len(gone(last[name])) == len(there[name].gauge.data_points) for name in last)


def test_durations_are_pushed_with_the_trace_and_span_of_the_newest() -> None:
    """The way from a slow bucket to its trace."""
    state = MetricsState()
    face = OtlpFace(state, Resource.get_empty(), list)
    state.stored([operation()], [step(1), step(2, span_id="ef" * 8)], 2)
    (point,) = received(face.metrics())["ktrdr.checkpoint.duration"].histogram.data_points
    assert (point.count, point.sum) == (2, 4.0)
    assert [(each.trace_id.hex(), each.span_id.hex()) for each in point.exemplars] == [("ab" * 16, "ef" * 8)]
    (again,) = received(face.metrics())["ktrdr.checkpoint.duration"].histogram.data_points
    assert not again.exemplars


def test_what_is_not_sampled_leaves_no_exemplar() -> None:
    """It would lead to a trace that nobody has exported; it is counted all the same."""
    scraped, pushed = MetricsState(), MetricsState()
    face = PrometheusFace(scraped, list)
    other = OtlpFace(pushed, Resource.get_empty(), list)
    unsampled = operation(trace_id=None)
    for state in (scraped, pushed):
        state.stored([unsampled], [step(1)], 1)
        state.stored([ended(unsampled)], [], 1)
    text = face.render(OPEN_METRICS)[0].decode()
    assert "ktrdr_checkpoint_duration_seconds_count{" in text
    assert "# {trace_id=" not in text
    (point,) = received(other.metrics())["ktrdr.checkpoint.duration"].histogram.data_points
    assert (point.count, len(point.exemplars)) == (1, 0)


def test_durations_and_ends_that_are_scraped_carry_the_trace() -> None:
    """As OpenMetrics has it: the way from a slow bucket, or a failure that was counted, to its trace."""
    state = MetricsState()
    face = PrometheusFace(state, list)
    state.stored([operation()], [step(1)], 1)
    state.stored([ended(operation())], [], 1)
    lines = face.render(OPEN_METRICS)[0].decode().splitlines()
    marked = {line.partition("{")[0] for line in lines if f'# {{trace_id="{"ab" * 16}"}}' in line}
    assert marked == {
        "ktrdr_checkpoint_duration_seconds_bucket",
        "ktrdr_operation_duration_seconds_bucket",
        "ktrdr_operations_total",
    }


def test_what_a_process_used_long_ago_is_no_number() -> None:
    """Its watcher is gone, or hangs: the last figure says nothing about now."""
    state = MetricsState()
    state.stored([operation()], [], 0)
    used = {instruments.CPU, instruments.MEMORY, instruments.MEMORY_LIMIT}
    state.sampled({"one": sample()})
    assert used <= {instrument for instrument, _, _ in state.points()}
    state.sampled({"one": sample(datetime.now(UTC) - timedelta(minutes=1))})
    assert not used & {instrument for instrument, _, _ in state.points()}


def test_a_hundred_thousand_changes_of_context_make_no_series() -> None:
    """An SDK instrument folds everything into `otel.metric.overflow` after 2,000; nor does the process grow."""
    state = MetricsState()
    face = OtlpFace(state, Resource.get_empty(), list)
    series = set()
    memory = 0
    for number in range(100_000):
        context = {"symbol": f"S{number}", "indicator_name": f"I{number}", "preprocessing_step": "load"}
        state.stored([operation(context=context)], [], number)
        data = face.metrics()
        if number == 5_000:
            memory = resident_bytes(os.getpid())
        if number % 1_000 == 999:
            metrics = received(data)
            series.add(sum(len(metric.gauge.data_points) for metric in metrics.values()))
            assert not any(gone(metric) for metric in metrics.values())
            assert b"otel.metric.overflow" not in encode_metrics(data).SerializeToString()
    assert len(series) == 1
    # Thirty bytes kept per push would be more than this, and a page of the allocator is not.
    assert resident_bytes(os.getpid()) < memory + 3 * 1024 * 1024


def test_ten_thousand_finished_operations_leave_what_a_hundred_left() -> None:
    """Series and memory are bounded on both faces, whatever a server has seen."""
    state = MetricsState()
    face = PrometheusFace(state, list)

    def finish(count: int, begin: int) -> int:
        for number in range(begin, begin + count):
            one = operation(f"run-{number}", operation_type=f"type {number}")
            strange = step(number + 1, operation_id=one.operation_id, progress_type=f"word {number}")
            state.stored([one], [strange], number)
            state.stored([ended(one)], [], number)
        return sum(
            len(family.samples) for family in text_string_to_metric_families(face.render("")[0].decode())
        )

    before = finish(500, 0)
    tracemalloc.start()
    try:
        finish(500, 500)
        gc.collect()
        first, _ = tracemalloc.get_traced_memory()
        after = finish(9_000, 1_000)
        gc.collect()
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after == before
    assert last < first + 200_000
