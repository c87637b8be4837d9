"""The trace of an operation as its store has it: a tree, and as OTLP JSON. No tracing backend is needed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ktrdr_otel import semconv
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import Checkpoint, Operation
from ktrdr_otel.operations.retelling import Retelling, RetoldSpan
from ktrdr_otel.operations.trace_export import TraceExport

_ERROR, _UNSET = 2, 0
_INTERNAL = 1


@dataclass(slots=True)
class Node:
    """A span and those inside it, in the order in which they began."""

    checkpoint: Checkpoint
    children: "list[Node]" = field(default_factory=list)

    def seconds(self, now: datetime) -> float:
        """Its length; of an open one until now."""
        return max(((self.checkpoint.ended_at or now) - self.checkpoint.started_at).total_seconds(), 0.0)

    def slowest_path(self, now: datetime) -> "Iterator[Node]":
        """From here down, always into the child that took longest."""
        yield self
        if self.children:
            yield from max(self.children, key=lambda each: each.seconds(now)).slowest_path(now)


def tree_of(checkpoints: Sequence[Checkpoint]) -> list[Node]:
    """Roots: spans whose parent the store does not have."""
    nodes = {each.span_id: Node(each) for each in checkpoints}
    roots: list[Node] = []
    for node in sorted(nodes.values(), key=lambda each: each.checkpoint.started_at):
        parent = nodes.get(node.checkpoint.parent_span_id or "")
        (roots if parent is None or parent is node else parent.children).append(node)
    return roots


def otlp_json(
    operation: Operation,
    checkpoints: Sequence[Checkpoint],
    logged: Iterable[LogLine],
    export: TraceExport | None,
) -> dict[str, Any]:
    """An `ExportTraceServiceRequest` as OTLP's JSON encoding has it; open spans end at the latest known moment.

    With the resource and scope of its `export`, where that is known.
    """
    latest = max((each.ended_at or each.started_at for each in checkpoints), default=None)
    roots = tree_of(checkpoints)
    retelling = Retelling(operation, roots[0].checkpoint.span_id if roots else None, logged)
    resource = {} if export is None else export.resource
    scope = {"name": semconv.SCOPE_NAME}
    if export is not None and export.scope_version:
        scope["version"] = export.scope_version
    return {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": _attributes({**resource, semconv.OPERATION_ID: operation.operation_id})
                },
                "scopeSpans": [
                    {"scope": scope, "spans": [_span(each) for each in retelling.spans(checkpoints, latest)]}
                ],
            }
        ]
    }


def _span(span: RetoldSpan) -> dict[str, Any]:
    status: dict[str, Any] = {"code": _ERROR if span.is_error else _UNSET}
    if span.message is not None:
        status["message"] = span.message
    form: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
        "status": status,
    }
    if span.events:
        form["events"] = [
            {
                "timeUnixNano": str(event.at_ns),
                "name": event.name,
                "attributes": _attributes(event.attributes),
            }
            for event in span.events
        ]
    if span.parent_span_id is not None:
        form["parentSpanId"] = span.parent_span_id
    return form


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}  # 64 bits are a text in JSON
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list | tuple):  # a resource may hold some
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": str(value)}
