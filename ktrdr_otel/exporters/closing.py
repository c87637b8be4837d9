"""Closes the trace of a run whose process is gone: what ended arrives as it ended, what was open as lost."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from ktrdr_otel import semconv
from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.exporters.delivery import Fate, deliver
from ktrdr_otel.exporters.environment import exporters_from_environment
from ktrdr_otel.exporters.otlp import OtlpGrpcExporter, OtlpHttpExporter
from ktrdr_otel.exporters.receivers import GRPC, receiver_of
from ktrdr_otel.exporters.records import OwedRecord, under_its_marker
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus, Worker
from ktrdr_otel.operations.trace import span_attributes
from ktrdr_otel.operations.trace_debts import TraceDebt
from ktrdr_otel.operations.trace_export import TraceReceiver

logger = logging.getLogger(__name__)

_BATCH: Final = 512
_TIMEOUT_SECONDS: Final = 10.0
_OTLP: Final = ("OTEL_EXPORTER_OTLP_", "OTEL_PYTHON_EXPORTER_OTLP_")
_CREDENTIALS: Final = ("HEADERS", "CREDENTIAL_PROVIDER")


class Receivers:
    """Exporters for the receivers of other processes' traces.

    Credentials go only to the receivers that this process's own environment names: an endpoint that was read from a
    store gets none.
    """

    def __init__(self, here: Worker) -> None:
        self._here = here
        own = [(receiver_of(exporter), exporter) for exporter in exporters_from_environment()]
        self._own = {receiver: exporter for receiver, exporter in own if receiver is not None}
        for name in list(os.environ):
            if name.startswith(_OTLP) and name.endswith(_CREDENTIALS):
                del os.environ[name]

    def exporters_for(self, debt: TraceDebt) -> list[SpanExporter] | None:
        """One for each of its receivers; None where one of them cannot be meant from here."""
        found: list[SpanExporter] = []
        for receiver in debt.export.receivers:
            if receiver in self._own:
                found.append(self._own[receiver])
            elif _is_local(receiver.endpoint) and not self._is_here(debt.worker):
                return None  # another machine's loopback, or another container's
            else:
                found.append(_exporter(receiver))
        return found

    def _is_here(self, worker: Worker) -> bool:
        """Containers share the boot of their machine, but no loopback."""
        here = self._here
        return (worker.boot_id, worker.pid_namespace) == (here.boot_id, here.pid_namespace)


def _is_local(endpoint: str) -> bool:
    """Whether it means another receiver wherever it is said; gRPC's may have no scheme."""
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    host = (parts.hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return endpoint.startswith("unix:") or host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _exporter(receiver: TraceReceiver) -> SpanExporter:
    kind = OtlpGrpcExporter if receiver.protocol == GRPC else OtlpHttpExporter
    return kind(receiver.endpoint, timeout_seconds=_TIMEOUT_SECONDS)


def pay(
    debt: TraceDebt,
    checkpoints: Sequence[Checkpoint],
    exporters: Sequence[SpanExporter],
    confirmed: Callable[[int], None],
) -> str | None:
    """None when every receiver has all that is owed to it, else what went wrong.

    `confirmed` hears the place in the export queue up to which everything has arrived, after each batch.
    """
    ended, left_open = owed_spans(debt, checkpoints)
    for batch in _batches([*ended, *left_open]):
        for exporter in exporters:
            delivery = deliver(exporter, batch)
            if delivery.fate is not Fate.DELIVERED or delivery.rejected:
                return delivery.error or delivery.fate.value
        place = max((span.export_place or 0 for span in batch), default=0)
        if place:
            confirmed(place)
    return None


def owed_spans(
    debt: TraceDebt, checkpoints: Iterable[Checkpoint]
) -> tuple[list[OwedRecord], list[OwedRecord]]:
    """The spans that ended, in the order in which they would have left; and those that were open."""
    make = _Maker(debt)
    ended: list[OwedRecord] = []
    left_open: list[OwedRecord] = []
    for checkpoint in checkpoints:
        if checkpoint.status in (CheckpointStatus.LOST, CheckpointStatus.RUNNING):
            left_open.append(make.record(checkpoint))
        else:
            ended.append(make.record(checkpoint))
    ended.sort(key=lambda span: span.export_place or 0)
    left_open.sort(key=lambda span: span.start_time or 0)
    if left_open and debt.operation.stall is not None:
        make.add_stall(left_open[-1])
    return ended, left_open


class _Maker:
    """Spans from what the store has of them."""

    def __init__(self, debt: TraceDebt) -> None:
        self._debt = debt
        attributes: Mapping[str, Any] = debt.export.resource
        self._resource = Resource(attributes)
        self._scope = InstrumentationScope(semconv.SCOPE_NAME, debt.export.scope_version)

    def record(self, checkpoint: Checkpoint) -> OwedRecord:
        """The span as it ended, or as lost when it was seen last; the child of its marker if it has one."""
        operation = self._debt.operation
        attributes = span_attributes(checkpoint)
        status = Status(StatusCode.UNSET)
        ended_at = checkpoint.ended_at or operation.ended_at or checkpoint.started_at
        if checkpoint.status in (CheckpointStatus.LOST, CheckpointStatus.RUNNING):
            attributes[semconv.SPAN_STATE] = semconv.STATE_LOST
            status = Status(StatusCode.ERROR, operation.lost_reason or "its process ended before it did")
        elif checkpoint.status is CheckpointStatus.FAILED:
            message = None if checkpoint.error is None else checkpoint.error.message
            status = Status(StatusCode.ERROR, message)
        if checkpoint.span_id == self._debt.root_span_id:
            attributes |= {
                semconv.OPERATION_TYPE: operation.operation_type,
                semconv.OPERATION_NAME: operation.name,
                semconv.OPERATION_STATUS: operation.status.value,
                semconv.PROGRESS_RATIO: operation.percentage / 100,
                semconv.PROGRESS_MESSAGE: operation.message,
            }
        is_marked = checkpoint.span_id in self._debt.marked
        if is_marked:
            attributes.setdefault(semconv.SPAN_STATE, semconv.STATE_FINISHED)
        context = _context(checkpoint.trace_id, checkpoint.span_id)
        record = OwedRecord(
            name=checkpoint.name,
            context=context,
            parent=None
            if checkpoint.parent_span_id is None
            else _context(checkpoint.trace_id, checkpoint.parent_span_id),
            resource=self._resource,
            attributes=attributes,
            status=status,
            start_time=ns_from_utc(checkpoint.started_at),
            end_time=ns_from_utc(max(ended_at, checkpoint.started_at)),
            instrumentation_scope=self._scope,
        )
        record.export_place = checkpoint.export_place
        return under_its_marker(record) if is_marked else record

    def add_stall(self, record: OwedRecord) -> None:
        """The newest stall, with the stack that proves it, is on the span that stood still last."""
        stall = self._debt.operation.stall
        if stall is not None:
            told = {
                semconv.PROGRESS_MESSAGE: stall.step,
                semconv.STALL_ACTIVITY: stall.activity,
                semconv.STACKTRACE: stall.stack,
            }
            record._events = [Event(semconv.STALLED_EVENT, told, ns_from_utc(stall.since))]


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )


def _batches(spans: Iterable[OwedRecord]) -> Iterator[list[OwedRecord]]:
    left = iter(spans)
    while batch := list(islice(left, _BATCH)):
        yield batch
