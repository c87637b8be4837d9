"""Closes the trace of a run whose process is gone: what ended arrives as it ended, what was open as lost."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
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

_OPEN: Final = (CheckpointStatus.LOST, CheckpointStatus.RUNNING)
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

    def exporters_for(self, debt: TraceDebt) -> dict[TraceReceiver, SpanExporter] | None:
        """One for each of its receivers; None where one of them cannot be meant from here."""
        found: dict[TraceReceiver, SpanExporter] = {}
        for receiver in debt.export.receivers:
            if receiver in self._own:
                found[receiver] = self._own[receiver]
            elif _is_local(receiver.endpoint) and not self._is_here(debt.worker):
                return None  # another machine's loopback, or another container's
            else:
                found[receiver] = _exporter(receiver)
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
    pages: Iterable[Sequence[Checkpoint]],
    exporters: Mapping[TraceReceiver, SpanExporter],
    arrived: Callable[[Sequence[Checkpoint]], None],
) -> dict[TraceReceiver, str]:
    """What went wrong, for each receiver to which something is still owed; the others have everything.

    `arrived` hears after each page what every receiver has, which is nothing once one of them has failed. Nothing is
    read beyond a page that nobody takes.
    """
    make = _Maker(debt)
    problems: dict[TraceReceiver, str] = {}
    for page in pages:
        records = make.records(page)
        for receiver, exporter in exporters.items():
            if receiver not in problems and (problem := _send(exporter, records)) is not None:
                problems[receiver] = f"{receiver.endpoint}: {problem}"
        if len(problems) == len(exporters):
            break
        arrived(() if problems else page)
    return problems


def _send(exporter: SpanExporter, records: Sequence[OwedRecord]) -> str | None:
    """Why they have to be sent again later; what can never arrive is left out, and no reason."""
    left_out, problem = _sift(exporter, records)
    if problem is None and len(left_out) == len(records) > 1:
        return left_out[0]  # the receiver is at fault rather than each of them
    for why in left_out:
        logger.warning("a span of a dead run is left out: %s", why)
    return problem


def _sift(exporter: SpanExporter, records: Sequence[OwedRecord]) -> tuple[list[str], str | None]:
    """For each record that cannot be digested, why; and the fault that has nothing to do with them."""
    delivery = deliver(exporter, records)
    if delivery.fate is Fate.DELIVERED:
        if delivery.rejected:
            # It will not store them at a second try either.
            logger.warning("of a dead run's trace %s", delivery.error)
        return [], None
    why = delivery.error or delivery.fate.value
    if delivery.fate is not Fate.INDIGESTIBLE:
        return [], why
    if len(records) == 1:
        bare = deliver(exporter, [records[0].bare()])
        if bare.fate is Fate.DELIVERED:
            return [], None
        return ([why], None) if bare.fate is Fate.INDIGESTIBLE else ([], bare.error or bare.fate.value)
    middle = len(records) // 2
    left_out, problem = _sift(exporter, records[:middle])
    if problem is not None:
        return left_out, problem
    more, problem = _sift(exporter, records[middle:])
    return left_out + more, problem


class _Maker:
    """Spans from what the store has of them."""

    def __init__(self, debt: TraceDebt) -> None:
        self._debt = debt
        attributes: Mapping[str, Any] = debt.export.resource
        self._resource = Resource(attributes)
        self._scope = InstrumentationScope(semconv.SCOPE_NAME, debt.export.scope_version)

    def records(self, page: Iterable[Checkpoint]) -> list[OwedRecord]:
        """One for each; the last of those that were open has the stall."""
        made: list[OwedRecord] = []
        last_open: OwedRecord | None = None
        for checkpoint in page:
            made.append(self.record(checkpoint))
            if checkpoint.status in _OPEN:
                last_open = made[-1]
        if last_open is not None:
            self._add_stall(last_open)
        return made

    def record(self, checkpoint: Checkpoint) -> OwedRecord:
        """The span as it ended, or as lost when it was seen last; the child of its marker if it has one."""
        operation = self._debt.operation
        attributes = span_attributes(checkpoint)
        status = Status(StatusCode.UNSET)
        ended_at = checkpoint.ended_at or operation.ended_at or checkpoint.started_at
        if checkpoint.status in _OPEN:
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
        return under_its_marker(record) if is_marked else record

    def _add_stall(self, record: OwedRecord) -> None:
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
