"""The trace of an operation as its store has it: a tree, and as OTLP JSON. No tracing backend is needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ktrdr_otel import semconv
from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus
from ktrdr_otel.operations.stored_unit import unit_of

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


def otlp_json(operation_id: str, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """An `ExportTraceServiceRequest` as OTLP's JSON encoding has it; open spans end at the latest known moment."""
    latest = max((each.ended_at or each.started_at for each in checkpoints), default=None)
    spans = [_span(each, latest) for each in checkpoints]
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({semconv.OPERATION_ID: operation_id})},
                "scopeSpans": [{"scope": {"name": semconv.SCOPE_NAME}, "spans": spans}],
            }
        ]
    }


def _span(checkpoint: Checkpoint, latest: datetime | None) -> dict[str, Any]:
    ended = checkpoint.ended_at or latest or checkpoint.started_at
    failed = checkpoint.status in (CheckpointStatus.FAILED, CheckpointStatus.LOST)
    attributes = span_attributes(checkpoint)
    status: dict[str, Any] = {"code": _ERROR if failed else _UNSET}
    if failed:
        status["message"] = "lost" if checkpoint.error is None else checkpoint.error.message
    span = {
        "traceId": checkpoint.trace_id,
        "spanId": checkpoint.span_id,
        "name": checkpoint.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(ns_from_utc(checkpoint.started_at)),
        "endTimeUnixNano": str(ns_from_utc(ended)),
        "attributes": _attributes(attributes),
        "status": status,
    }
    if checkpoint.parent_span_id is not None:
        span["parentSpanId"] = checkpoint.parent_span_id
    return span


def span_attributes(checkpoint: Checkpoint) -> dict[str, Any]:
    """The attributes of the checkpoint's span, as far as the store keeps them."""
    attributes: dict[str, Any] = {semconv.OPERATION_ID: checkpoint.operation_id}
    if checkpoint.progress_type is not None:
        attributes[semconv.PROGRESS_TYPE] = checkpoint.progress_type
    keys = {key: name for name, key in semconv.context_keys(checkpoint.progress_type).items()}
    attributes |= {keys[key]: value for key, value in unit_of(checkpoint).context.items() if key in keys}
    attributes |= {
        semconv.TRAINING_METRICS[key]: value
        for key, value in checkpoint.metrics.items()
        if key in semconv.TRAINING_METRICS
    }
    if checkpoint.status in _STATES:
        attributes[semconv.SPAN_STATE] = _STATES[checkpoint.status]
    if checkpoint.error is not None:
        attributes[semconv.ERROR_TYPE] = checkpoint.error.type
    return attributes


_STATES = {
    CheckpointStatus.RUNNING: semconv.STATE_IN_PROGRESS,
    CheckpointStatus.LOST: semconv.STATE_LOST,
    CheckpointStatus.CANCELLED: semconv.STATE_CANCELLED,
}


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}  # 64 bits are a text in JSON
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}
