"""Operations, steps and samples for the tests of metrics."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.sdk.metrics.export import MetricsData

from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.push import mark_ends
from ktrdr_otel.metrics.state import MetricsState, Point
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus, Operation, OperationStatus
from ktrdr_otel.operations.samples import Sample

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
BEGAN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


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
            "progress_type": "indicator_computation",
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


def indicator(number: int = 1, **changes: object) -> Checkpoint:
    """A computed indicator."""
    named = {"progress_type": "indicator_computation", "timeframe": "1h", "item_name": "RSI", "metrics": {}}
    return step(number, **(named | changes))


def sample(at: datetime | None = None) -> Sample:
    """What the process uses."""
    return Sample(at=at or datetime.now(UTC), cpu_share=0.75, rss_bytes=2**30, limit_bytes=2**33)


def everything(state: MetricsState) -> None:
    """One operation runs and another has ended: each instrument has something to say."""
    state.stored([operation(), operation("two")], [step(), indicator(2)], 2)
    state.stored([ended(operation("two"))], [], 2)
    state.sampled({"one": sample()})


def received(data: MetricsData) -> dict[str, Metric]:
    """The metrics as they are on the wire, by name."""
    request: ExportMetricsServiceRequest = encode_metrics(data)
    mark_ends(request)
    return {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}
