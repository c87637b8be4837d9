"""Both faces of the metrics: the same table, seen by a scraper and by an OTLP receiver."""

import gc
import os
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric, NumberDataPoint
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.otlp import OtlpFace
from ktrdr_otel.metrics.prometheus import PrometheusFace
from ktrdr_otel.metrics.push import mark_ends
from ktrdr_otel.metrics.state import MetricsState, Point
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus, Operation, OperationStatus
from ktrdr_otel.operations.samples import Sample
from tests.memory import resident_bytes

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
BEGAN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

# OpenTelemetry's name, kind, unit, and what Prometheus makes of them, on both faces.
GOLDEN = """
ktrdr.operation.progress gauge 1 ktrdr_operation_progress_ratio
ktrdr.operation.phase.info gauge - ktrdr_operation_phase_info
ktrdr.operation.phase.items.completed gauge {item} ktrdr_operation_phase_items_completed
ktrdr.operation.phase.items.planned gauge {item} ktrdr_operation_phase_items_planned
ktrdr.operation.items.completed gauge {item} ktrdr_operation_items_completed
ktrdr.operation.items.planned gauge {item} ktrdr_operation_items_planned
ktrdr.operation.start.timestamp gauge s ktrdr_operation_start_timestamp_seconds
ktrdr.operation.last_progress.timestamp gauge s ktrdr_operation_last_progress_timestamp_seconds
ktrdr.operation.heartbeat.timestamp gauge s ktrdr_operation_heartbeat_timestamp_seconds
ktrdr.operation.stall.allowance gauge s ktrdr_operation_stall_allowance_seconds
ktrdr.operation.stalled gauge - ktrdr_operation_stalled
ktrdr.operation.suspended gauge - ktrdr_operation_suspended
ktrdr.operation.slow gauge - ktrdr_operation_slow
ktrdr.operation.estimated_remaining gauge s ktrdr_operation_estimated_remaining_seconds
ktrdr.operation.cpu.usage gauge {cpu} ktrdr_operation_cpu_usage
ktrdr.operation.memory.usage gauge By ktrdr_operation_memory_usage_bytes
ktrdr.operation.memory.limit gauge By ktrdr_operation_memory_limit_bytes
ktrdr.gpu.utilization gauge 1 ktrdr_gpu_utilization_ratio
ktrdr.gpu.memory.usage gauge By ktrdr_gpu_memory_usage_bytes
ktrdr.gpu.memory.limit gauge By ktrdr_gpu_memory_limit_bytes
ktrdr.training.loss gauge - ktrdr_training_loss
ktrdr.training.accuracy gauge 1 ktrdr_training_accuracy_ratio
ktrdr.training.val_loss gauge - ktrdr_training_val_loss
ktrdr.training.val_accuracy gauge 1 ktrdr_training_val_accuracy_ratio
ktrdr.training.learning_rate gauge - ktrdr_training_learning_rate
ktrdr.training.epoch gauge {epoch} ktrdr_training_epoch
ktrdr.operation.end.timestamp gauge s ktrdr_operation_end_timestamp_seconds
ktrdr.operations.active gauge {operation} ktrdr_operations_active
ktrdr.operations counter {operation} ktrdr_operations_total
ktrdr.operation.duration histogram s ktrdr_operation_duration_seconds
ktrdr.checkpoint.duration histogram s ktrdr_checkpoint_duration_seconds
ktrdr.otel.follower.age gauge s ktrdr_otel_follower_age_seconds
ktrdr.otel.subscribers gauge {subscriber} ktrdr_otel_subscribers
ktrdr.otel.store.up gauge - ktrdr_otel_store_up
ktrdr.otel.store.queue gauge {checkpoint} ktrdr_otel_store_queue
ktrdr.otel.store.flushes counter {flush} ktrdr_otel_store_flushes_total
ktrdr.otel.store.flush.time counter s ktrdr_otel_store_flush_time_seconds_total
ktrdr.otel.store.failures counter {flush} ktrdr_otel_store_failures_total
ktrdr.otel.inbox gauge {event} ktrdr_otel_inbox
ktrdr.otel.export.queue gauge {span} ktrdr_otel_export_queue
ktrdr.otel.exported counter {span} ktrdr_otel_exported_total
ktrdr.otel.export.failures counter {export} ktrdr_otel_export_failures_total
ktrdr.otel.push.failures counter {push} ktrdr_otel_push_failures_total
ktrdr.otel.dropped counter {item} ktrdr_otel_dropped_total
ktrdr.otel.faults counter {fault} ktrdr_otel_faults_total
ktrdr.otel.cpu.time counter s ktrdr_otel_cpu_time_seconds_total
ktrdr.otel.cardinality.overflow counter {step} ktrdr_otel_cardinality_overflow_total
"""


def own_health() -> list[Point]:
    """A number of each instrument that tells of the plugin and its machine, not of operations."""
    named = (each for each in instruments.INSTRUMENTS if each.name.startswith(("ktrdr.otel.", "ktrdr.gpu.")))
    of_state = {instruments.FRESHNESS, instruments.CARDINALITY_OVERFLOW}
    return [(each, ("x",) * len(each.labels), 1.0) for each in named if each not in of_state]


def operation(operation_id: str = "one", **changes: object) -> Operation:
    """A running training, in its middle."""
    made = Operation(
        operation_id=operation_id,
        operation_type="training",
        name="train",
        status=OperationStatus.RUNNING,
        phase="preprocessing",
        percentage=2.5,
        message="Processing AAPL (2/5) [1h] - Computing RSI (15/40)",
        context={
            "symbol": "AAPL",
            "timeframe": "1h",
            "preprocessing_step": "computing_indicator",
            "indicator_name": "RSI",
        },
        started_at=BEGAN,
        last_progress_at=BEGAN,
        heartbeat_at=BEGAN,
        estimated_remaining_seconds=60.0,
        items_completed=15,
        items_planned=400,
        phases={"preprocessing": (15, 320), "training": (0, 80)},
        trace_id="ab" * 16,
        allowance_seconds=30.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the fields of an operation


def ended(one: Operation, status: OperationStatus = OperationStatus.COMPLETED) -> Operation:
    """The operation has just ended so."""
    return replace(one, status=status, ended_at=datetime.now(UTC))


def step(number: int = 1, **changes: object) -> Checkpoint:
    """A finished epoch, with all metrics."""
    made = Checkpoint(
        sequence=number,
        operation_id="one",
        progress_type="epoch",
        name="epoch",
        step=None,
        symbol=None,
        symbol_index=None,
        symbol_total=None,
        timeframe=None,
        item_name=None,
        item_index=number,
        item_total=10,
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(seconds=2),
        status=CheckpointStatus.COMPLETED,
        trace_id="ab" * 16,
        span_id="cd" * 8,
        parent_span_id=None,
        metrics={"loss": 0.5, "accuracy": 0.6, "val_loss": 0.7, "val_accuracy": 0.5, "learning_rate": 0.001},
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the fields of a checkpoint


def sample(at: datetime | None = None) -> Sample:
    """What the process uses."""
    return Sample(at=at or datetime.now(UTC), cpu_share=0.75, rss_bytes=2**30, limit_bytes=2**33)


def received(data: MetricsData) -> dict[str, Metric]:
    """The metrics as they are on the wire, by name."""
    request: ExportMetricsServiceRequest = encode_metrics(data)
    mark_ends(request)
    return {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}


def gone(metric: Metric) -> list[NumberDataPoint]:
    """Points that say that their series has ended."""
    mask = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    return [point for point in metric.gauge.data_points if point.flags & mask]


def everything(state: MetricsState) -> None:
    """One operation runs and another has ended: each instrument has something to say."""
    state.stored([operation(), operation("two")], [step()], 1)
    state.stored([ended(operation("two"))], [], 1)
    state.sampled({"one": sample()})


def test_the_pushed_names_kinds_and_units_are_these() -> None:
    """What receivers store under; a rename breaks their boards."""
    state = MetricsState()
    face = OtlpFace(state, Resource.get_empty(), own_health)
    everything(state)
    metrics = received(face.metrics())
    kinds = {"gauge": "gauge", "sum": "counter", "histogram": "histogram"}
    seen = {
        f"{each.name} {kinds[str(each.WhichOneof('data'))]} {each.unit or '-'}" for each in metrics.values()
    }
    assert seen == {line.rpartition(" ")[0] for line in GOLDEN.split("\n") if line}
    help_of = {each.name: each.help for each in instruments.INSTRUMENTS}
    assert {name: metric.description for name, metric in metrics.items()}.items() <= help_of.items()


def test_the_scraped_names_and_kinds_are_those_that_prometheus_makes_of_the_pushed_ones() -> None:
    """One board reads both faces."""
    state = MetricsState()
    face = PrometheusFace(state, own_health)
    everything(state)
    text = face.render("")[0].decode()
    seen = {
        (
            family.name if family.type != "counter" else f"{family.name}_total",
            family.type,
        ): family.documentation
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }
    golden = {(line.split()[3], line.split()[1]) for line in GOLDEN.split("\n") if line}
    assert seen.keys() == golden | {("ktrdr_operation_step_info", "gauge")}
    help_of = {(each.series, each.kind.value): each.help for each in instruments.INSTRUMENTS}
    assert all(help_of[key] == said for key, said in seen.items())


def test_each_instrument_of_the_table_is_on_a_face() -> None:
    """The table names nothing that nobody serves."""
    named = {line.split()[0] for line in GOLDEN.split("\n") if line}
    assert {each.name for each in instruments.INSTRUMENTS} - named == {instruments.STEP_INFO.name}


def test_labels_are_the_attributes_on_both_faces() -> None:
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
