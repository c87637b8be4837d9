"""OTLP trace requests built by hand, as a sender in another language would."""

import itertools
import time
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

_ids = itertools.count(1)
TRACE_ID = bytes(range(16))


def span_id() -> bytes:
    """An id that no other span has."""
    return next(_ids).to_bytes(8, "big")


def span(
    name: str,
    *,
    own: bytes | None = None,
    parent: bytes | None = None,
    error: str | None = None,
    **attributes: Any,
) -> Span:
    """A finished span; `a__b` in a keyword is `ktrdr.a.b`."""
    now = time.time_ns()
    made = Span(
        trace_id=TRACE_ID,
        span_id=own or span_id(),
        parent_span_id=parent or b"",
        name=name,
        start_time_unix_nano=now - 10**6,
        end_time_unix_nano=now,
    )
    for key, value in attributes.items():
        pair = made.attributes.add(key=f"ktrdr.{key.replace('__', '.')}")
        if isinstance(value, str):
            pair.value.string_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.double_value = value
    if error is not None:
        made.status.code = Status.STATUS_CODE_ERROR
        made.status.message = error
        event = made.events.add(name="exception")
        event.attributes.add(key="exception.type").value.string_value = "IOError"
    return made


def request(*spans: Span, operation_id: str | None = None) -> bytes:
    """A request of one resource; the operation's id may stand there."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "a Go service"
    if operation_id is not None:
        resource.resource.attributes.add(key="ktrdr.operation.id").value.string_value = operation_id
    resource.scope_spans.add().spans.extend(spans)
    return made.SerializeToString()
