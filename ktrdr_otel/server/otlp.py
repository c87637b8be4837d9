"""OTLP's trace requests, parsed and checked: what comes out is safe to count, compare and store.

Every value is hostile until it is here: ids have their lengths, times lie in this century, numbers fit, texts are
bounded. What does not fit in a span makes that span rejected; an attribute that does not fit is left out.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ktrdr_otel import semconv
from ktrdr_otel.bridge.units import context_of
from ktrdr_otel.errors import SettingsError
from ktrdr_otel.exporters.records import final_span_id
from ktrdr_otel.ids import check_operation_id
from ktrdr_otel.progress.events import Unit, UnitError

LONGEST_BODY: Final = 8 * 2**20  # bytes as they come
LARGEST_REQUEST: Final = 32 * 2**20  # bytes when unpacked
_LONGEST_TEXT: Final = 1_000
_LATEST_NS: Final = 4_102_444_800 * 10**9  # the year 2100
_HIGHEST: Final = 2**53

_COUNTS: Final = frozenset(
    {
        semconv.SYMBOL_INDEX,
        semconv.SYMBOL_TOTAL,
        semconv.ITEM_INDEX,
        semconv.ITEM_TOTAL,
        semconv.SAMPLE_TOTAL,
        semconv.MODEL_INPUT_DIMENSION,
    }
)
_TEXTS: Final = frozenset(
    {
        semconv.OPERATION_ID,
        semconv.OPERATION_TYPE,
        semconv.OPERATION_NAME,
        semconv.OPERATION_STATUS,
        semconv.PROGRESS_TYPE,
        semconv.SPAN_STATE,
        semconv.ERROR_TYPE,
        semconv.STEP,
        semconv.SYMBOL_NAME,
        semconv.TIMEFRAME,
        semconv.ITEM_NAME,
    }
)
_NUMBERS: Final = frozenset(semconv.TRAINING_METRICS.values())
_METRIC_OF_ATTRIBUTE: Final = {attribute: key for key, attribute in semconv.TRAINING_METRICS.items()}
_STARTS: Final = frozenset({semconv.STATE_IN_PROGRESS, semconv.STATE_STARTED})


class MalformedRequestError(Exception):
    """The body is no OTLP trace request."""


class TooLargeError(Exception):
    """The body is larger than the server takes."""


@dataclass(frozen=True, slots=True)
class Report:
    """One span, as progress sees it."""

    unit: Unit
    is_start: bool  # a snapshot or a marker of a span that is still open
    closes_marker: bool  # the true end of the span whose marker is its parent
    is_root: bool
    operation: Mapping[str, str]  # attributes about the operation itself
    failed: bool
    service: str  # the sender's `service.name`


@dataclass(frozen=True, slots=True)
class Request:
    """What a request holds for operations."""

    reports: list[Report]
    rejected: int  # spans of an operation that could not be understood
    why: str


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its content encoding; raises `MalformedRequestError` and `TooLargeError`."""
    if encoding in ("", "identity"):
        return body
    decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = decompressor.decompress(body, LARGEST_REQUEST + 1)
    except zlib.error as error:
        raise MalformedRequestError("the body is not gzip") from error
    if len(plain) > LARGEST_REQUEST:
        raise TooLargeError
    if not decompressor.eof:
        raise MalformedRequestError("the gzip body is cut short")
    return plain


def parse(body: bytes) -> Request:
    """The spans of operations in the request; raises `MalformedRequestError`."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except (DecodeError, UnicodeDecodeError) as error:
        raise MalformedRequestError("the body is no ExportTraceServiceRequest") from error
    reports: list[Report] = []
    rejected, why = 0, ""
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes, extra="service.name")
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                try:
                    report = _report(span, resource)
                except ValueError as error:
                    rejected += 1
                    why = str(error)
                    continue
                if report is not None:
                    reports.append(report)
    return Request(reports, rejected, why)


def _report(span: Span, resource: Mapping[str, Any]) -> Report | None:
    attributes = {**_of_the_operation(resource), **_attributes(span.attributes)}
    operation_id = attributes.get(semconv.OPERATION_ID)
    if operation_id is None:
        return None
    try:
        check_operation_id(operation_id)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    state = attributes.get(semconv.SPAN_STATE)
    is_start = state in _STARTS
    progress_type = attributes.get(semconv.PROGRESS_TYPE)
    parent = _id(span.parent_span_id, 8, "parent span id") if span.parent_span_id else None
    started_ns, ended_ns = _times(span)
    failed = span.status.code == Status.STATUS_CODE_ERROR
    metrics = {
        key: attributes[attribute]
        for attribute, key in _METRIC_OF_ATTRIBUTE.items()
        if attribute in attributes
    }
    unit = Unit(
        operation_id,
        _id(span.trace_id, 16, "trace id"),
        _id(span.span_id, 8, "span id"),
        parent,
        span.name[:_LONGEST_TEXT] or "span",
        progress_type,
        context_of(progress_type, attributes),
        started_ns,
        0,
        None if is_start else ended_ns,
        metrics or None,
        _error(span, attributes) if failed and not is_start else None,
        state == semconv.STATE_CANCELLED,
    )
    operation = _of_the_operation(attributes)
    # Ours says so by its id too: the end of a span that was cancelled or lost has another state.
    closes_marker = parent is not None and (
        state == semconv.STATE_FINISHED or unit.span_id == final_span_id(parent)
    )
    is_root = parent is None or semconv.OPERATION_TYPE in _attributes(span.attributes)
    return Report(
        unit, is_start, closes_marker, is_root, operation, failed, str(resource.get("service.name", ""))
    )


def _error(span: Span, attributes: Mapping[str, Any]) -> UnitError:
    kind, message = attributes.get(semconv.ERROR_TYPE), span.status.message
    for event in span.events:
        if event.name == "exception":
            told = {each.key: each.value.string_value for each in event.attributes}
            kind = kind or told.get("exception.type")
            message = message or told.get("exception.message", "")
    return UnitError((kind or "Error")[:_LONGEST_TEXT], message[:_LONGEST_TEXT])


def _times(span: Span) -> tuple[int, int]:
    started_ns, ended_ns = span.start_time_unix_nano, span.end_time_unix_nano
    if not 0 < started_ns <= _LATEST_NS:
        raise ValueError("a span has no start time, or one beyond the year 2100")
    if ended_ns > _LATEST_NS:
        raise ValueError("a span ends beyond the year 2100")
    return started_ns, max(ended_ns, started_ns)


def _id(raw: bytes, length: int, what: str) -> int:
    number = int.from_bytes(raw, "big")
    if len(raw) != length or number == 0:
        raise ValueError(f"a {what} is not {length} bytes, or all zero")
    return number


def _of_the_operation(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in attributes.items() if key.startswith("ktrdr.operation.")}


def _attributes(pairs: Iterable[KeyValue], *, extra: str = "") -> dict[str, Any]:
    """Our own attributes, those of the right type; and one more text."""
    attributes: dict[str, Any] = {}
    for pair in pairs:
        key, value = pair.key, pair.value
        which = value.WhichOneof("value")
        if (key in _TEXTS or key == extra) and which == "string_value":
            attributes[key] = (
                value.string_value if key == semconv.OPERATION_ID else value.string_value[:_LONGEST_TEXT]
            )
        elif key in _COUNTS and which == "int_value" and 0 < value.int_value <= _HIGHEST:
            attributes[key] = value.int_value
        elif key in _NUMBERS and which in ("double_value", "int_value"):
            attributes[key] = float(value.double_value if which == "double_value" else value.int_value)
    return attributes
