"""Closes the trace of a run whose process is gone: what ended arrives as ended, what was open as lost."""

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
from ktrdr_otel.exporters.delivery import Fate, deliver
from ktrdr_otel.exporters.environment import exporters_from_environment
from ktrdr_otel.exporters.otlp import OtlpGrpcExporter, OtlpHttpExporter
from ktrdr_otel.exporters.receivers import GRPC, receiver_of
from ktrdr_otel.exporters.records import OwedRecord, under_its_marker
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import Checkpoint, Worker
from ktrdr_otel.operations.retelling import Retelling, RetoldSpan
from ktrdr_otel.operations.trace_debts import TraceDebt
from ktrdr_otel.operations.trace_export import TraceReceiver

logger = logging.getLogger(__name__)

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
    logged: Iterable[LogLine],
    pages: Iterable[Sequence[Checkpoint]],
    exporters: Mapping[TraceReceiver, SpanExporter],
    arrived: Callable[[Sequence[Checkpoint]], None],
) -> dict[TraceReceiver, str]:
    """What went wrong, for each receiver to which something is still owed; the others have everything.

    `logged` is what the operation logged: warnings are events of the spans that they were logged in.
    `arrived` hears after each page what every receiver has, which is nothing once one of them has failed. Nothing is
    read beyond a page that nobody takes.
    """
    make = _Maker(debt, logged)
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
    """Records to export of the spans that are owed."""

    def __init__(self, debt: TraceDebt, logged: Iterable[LogLine]) -> None:
        self._marked = debt.marked
        self._retelling = Retelling(debt.operation, debt.root_span_id, logged)
        attributes: Mapping[str, Any] = debt.export.resource
        self._resource = Resource(attributes)
        self._scope = InstrumentationScope(semconv.SCOPE_NAME, debt.export.scope_version)

    def records(self, page: Iterable[Checkpoint]) -> list[OwedRecord]:
        """One for each: its span, as the child of its marker if it has one."""
        return [self._record(span) for span in self._retelling.spans(page)]

    def _record(self, span: RetoldSpan) -> OwedRecord:
        attributes = dict(span.attributes)
        is_marked = span.span_id in self._marked
        if is_marked:
            attributes.setdefault(semconv.SPAN_STATE, semconv.STATE_FINISHED)
        # The last moment of its microsecond: what is around it has left with its nanoseconds, and began no later.
        start_ns = span.start_ns // 1000 * 1000 + 999
        record = OwedRecord(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=None if span.parent_span_id is None else _context(span.trace_id, span.parent_span_id),
            resource=self._resource,
            attributes=attributes,
            events=[Event(event.name, event.attributes, event.at_ns) for event in span.events],
            status=Status(StatusCode.ERROR if span.is_error else StatusCode.UNSET, span.message),
            start_time=start_ns,
            end_time=max(span.end_ns, start_ns),
            instrumentation_scope=self._scope,
        )
        return under_its_marker(record) if is_marked else record


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
