"""`POST /v1/traces`: spans that any process, in any language, sends over OTLP/HTTP become live progress."""

import dataclasses
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from anyio import to_thread
from fastapi import APIRouter
from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ktrdr_otel import semconv
from ktrdr_otel.clock import Clock, utc_from_ns
from ktrdr_otel.errors import OperationExistsError, StoreError, UnknownOperationError
from ktrdr_otel.operations.models import NewOperation, Operation
from ktrdr_otel.operations.ports import Batch, StoredSpan
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.server import otlp
from ktrdr_otel.server.api import EVERYWHERE
from ktrdr_otel.server.otlp import Report
from ktrdr_otel.server.reported import NOBODY, ReportedOperation, newest

logger = logging.getLogger(__name__)

traces_api = APIRouter(tags=["ingest"])

PROTOBUF: Final = "application/x-protobuf"
_MOST_KEPT: Final = 500  # operations whose state is held in memory; others are folded again when they report
_REQUESTS_PER_SECOND: Final = 200.0
_BURST: Final = 400.0
_DEFAULT_TYPE: Final = "operation"


class Ingest:
    """Takes reports in, one request at a time. What was taken once is not taken again, by any server of the store."""

    def __init__(self, service: OperationsService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._reported: OrderedDict[str, ReportedOperation] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, reports: Sequence[Report]) -> None:
        """All of it is stored, and the state of its operations with it; raises `StoreError`."""
        by_operation: dict[str, list[Report]] = {}
        for report in reports:
            by_operation.setdefault(report.unit.operation_id, []).append(report)
        with self._lock:
            for operation_id, its in by_operation.items():
                self._take_one(operation_id, its)

    def _take_one(self, operation_id: str, reports: list[Report]) -> None:
        operation = self._operation(operation_id, reports)
        if self._service.has_worker(operation_id):
            return  # its own process writes to this store; its spans say nothing that is not there
        known = self._known(operation_id, reports)
        reports = _without_markers(reports, known)
        batch = _fresh(reports, known)
        self._service.write(batch)
        if operation.status.is_terminal:
            return
        live = self._live(operation)
        root = newest(reports)
        progress = live.catch_up()
        state = Batch()
        _name(state, operation, reports)
        if root is None:
            state.progress[operation_id] = progress
        else:
            state.endings[operation_id] = live.end(root, progress)
            del self._reported[operation_id]
        self._service.write(state)

    def _operation(self, operation_id: str, reports: Sequence[Report]) -> Operation:
        with suppress(UnknownOperationError):
            return self._service.get(operation_id)
        first = min(reports, key=lambda each: each.unit.started_ns)
        new = NewOperation(
            operation_id=operation_id,
            operation_type=first.operation.get(semconv.OPERATION_TYPE, _DEFAULT_TYPE),
            name=first.operation.get(semconv.OPERATION_NAME) or first.service or operation_id,
            started_at=utc_from_ns(first.unit.started_ns),
            trace_id=f"{first.unit.trace_id:032x}",
            span_id=None,
            worker=NOBODY,
            lease_seconds=0,  # nobody beats for it: silence is a stall, never a loss
        )
        with suppress(OperationExistsError):  # another server was faster
            self._service.adopt(new)
        return self._service.get(operation_id)

    def _live(self, operation: Operation) -> ReportedOperation:
        operation_id = operation.operation_id
        live = self._reported.get(operation_id)
        if live is None:
            live = self._reported[operation_id] = ReportedOperation(self._service, operation, self._clock)
            if len(self._reported) > _MOST_KEPT:
                self._reported.popitem(last=False)
        self._reported.move_to_end(operation_id)
        return live

    def _known(self, operation_id: str, reports: Sequence[Report]) -> dict[int, StoredSpan]:
        parents = [each.unit.parent_span_id for each in reports if each.unit.parent_span_id is not None]
        return self._service.known_spans(operation_id, {*parents, *(each.unit.span_id for each in reports)})


def _without_markers(reports: Sequence[Report], known: Mapping[int, StoredSpan]) -> list[Report]:
    """Each end that came as the child of a marker is that of the span which the marker stands for."""
    parents = {each.unit.span_id: each.unit.parent_span_id for each in reports if each.is_start}
    parents |= {span_id: stored.parent_span_id for span_id, stored in known.items()}
    resolved = []
    for report in reports:
        marker = report.unit.parent_span_id
        if report.closes_marker and marker is not None and marker in parents:
            unit = report.unit._replace(span_id=marker, parent_span_id=parents[marker])
            is_root = report.is_root or unit.parent_span_id is None
            resolved.append(dataclasses.replace(report, unit=unit, is_root=is_root))
        else:
            resolved.append(report)
    return resolved


def _fresh(reports: Sequence[Report], known: Mapping[int, StoredSpan]) -> Batch:
    """What the store does not have yet."""
    opened: dict[int, Unit] = {}
    ended: dict[int, Unit] = {}
    for report in reports:
        unit = report.unit
        if unit.span_id in known and known[unit.span_id].has_ended:
            continue
        (opened if report.is_start else ended)[unit.span_id] = unit
    batch = Batch()
    batch.started = [
        unit for span_id, unit in opened.items() if span_id not in ended and span_id not in known
    ]
    batch.finished = [unit for span_id, unit in ended.items() if span_id not in known]
    batch.closed = [unit for span_id, unit in ended.items() if span_id in known]
    return batch


def _name(batch: Batch, operation: Operation, reports: Sequence[Report]) -> None:
    """The root, which comes last, says what the operation is called."""
    for report in reports:
        kind = report.operation.get(semconv.OPERATION_TYPE, operation.operation_type)
        name = report.operation.get(semconv.OPERATION_NAME, operation.name)
        if (kind, name) != (operation.operation_type, operation.name):
            batch.names[operation.operation_id] = (kind, name)


class Bucket:
    """So many requests a second, and a burst of more; safe from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left = _BURST
        self._at = now()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether one more may come now."""
        with self._lock:
            now = self._now()
            self._left = min(_BURST, self._left + (now - self._at) * _REQUESTS_PER_SECOND)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True


@traces_api.post(
    "/v1/traces",
    max_body_size=otlp.LONGEST_BODY,
    response_class=Response,
    responses={
        **EVERYWHERE,
        200: {"description": "ExportTraceServiceResponse", "content": {PROTOBUF: {}}},
        415: {"description": "Neither protobuf, nor gzip or plain"},
        429: {"description": "Too many requests"},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "ExportTraceServiceRequest",
            "content": {PROTOBUF: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def take_traces(request: Request) -> Response:
    """Take spans in, as an OTLP/HTTP exporter sends them."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if kind != PROTOBUF or encoding not in ("", "identity", "gzip"):
        return _refusal(415, f"send {PROTOBUF}, plain or as gzip")
    bucket: Bucket = request.app.state.bucket
    if not bucket.take():
        return _refusal(429, "too many requests", {"Retry-After": "1"})
    try:
        body = await _body(request)
        parsed = await to_thread.run_sync(lambda: otlp.parse(otlp.unpacked(body, encoding)))
    except otlp.TooLargeError:
        return _refusal(413, f"a request has at most {otlp.LONGEST_BODY} bytes")
    except otlp.MalformedRequestError as error:
        return _refusal(400, str(error))
    except ClientDisconnect:
        return _refusal(400, "the body is cut short")
    ingest: Ingest = request.app.state.ingest
    try:
        await to_thread.run_sync(ingest.take, parsed.reports)
    except StoreError as error:
        logger.warning("spans could not be stored: %s", error)
        return _refusal(503, "the store does not take it", {"Retry-After": "1"})
    answer = ExportTraceServiceResponse()
    if parsed.rejected:
        answer.partial_success.rejected_spans = parsed.rejected
        answer.partial_success.error_message = parsed.why
    return Response(answer.SerializeToString(), media_type=PROTOBUF)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > otlp.LONGEST_BODY:
            raise otlp.TooLargeError
        parts.append(part)
    return b"".join(parts)


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """As OTLP/HTTP says it: a `google.rpc.Status`."""
    return Response(
        RpcStatus(message=message).SerializeToString(),
        status_code=status,
        media_type=PROTOBUF,
        headers=headers,
    )
