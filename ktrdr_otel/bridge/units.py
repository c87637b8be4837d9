"""From checkpoints, and from spans that no checkpoint made, to units of progress."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from ktrdr_otel import semconv
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.operations.models import Progress
from ktrdr_otel.progress.events import Unit, UnitError

_METRIC_OF_ATTRIBUTE = {attribute: key for key, attribute in semconv.TRAINING_METRICS.items()}


def unit_of_checkpoint(checkpoint: Checkpoint, operation_id: str, seen_ns: int) -> Unit:
    """The open unit that the checkpoint has begun."""
    attributes = checkpoint.attributes
    progress_type = attributes.get(semconv.PROGRESS_TYPE)
    identity = checkpoint.identity()
    parent = checkpoint.parent
    return Unit(
        operation_id,
        identity.trace_id,
        identity.span_id,
        None if parent is None else parent.identity().span_id,
        checkpoint.name,
        progress_type,
        context_of(progress_type, attributes),
        checkpoint.started_ns,
        seen_ns,
    )


def whole_unit(checkpoint: Checkpoint, operation_id: str, seen_ns: int) -> Unit:
    """The unit of a checkpoint that has ended, made at once: nobody has seen it open."""
    attributes = checkpoint.attributes
    progress_type = attributes.get(semconv.PROGRESS_TYPE)
    identity = checkpoint.identity()
    parent = checkpoint.parent
    error = checkpoint.error
    return Unit(
        operation_id,
        identity.trace_id,
        identity.span_id,
        None if parent is None else parent.identity().span_id,
        checkpoint.name,
        progress_type,
        context_of(progress_type, attributes),
        checkpoint.started_ns,
        seen_ns,
        checkpoint.ended_ns,
        checkpoint.metrics,
        None if error is None else UnitError(*error),
        checkpoint.cancelled,
        checkpoint.export_place,
    )


def ended_unit(started: Unit, checkpoint: Checkpoint, seen_ns: int) -> Unit:
    """The same unit at its end."""
    error = checkpoint.error
    return started._replace(
        seen_monotonic_ns=seen_ns,
        ended_ns=checkpoint.ended_ns,
        metrics=checkpoint.metrics,
        error=None if error is None else UnitError(*error),
        cancelled=checkpoint.cancelled,
        export_place=checkpoint.export_place,
    )


def unit_of_span(span: ReadableSpan, seen_ns: int) -> Unit | None:
    """The unit that a plain span with our attributes tells of; None when it belongs to no operation."""
    attributes = span.attributes or {}
    operation_id = attributes.get(semconv.OPERATION_ID)
    if not isinstance(operation_id, str) or span.context is None or span.start_time is None:
        return None
    progress_type = attributes.get(semconv.PROGRESS_TYPE)
    progress_type = progress_type if isinstance(progress_type, str) else None
    error = None
    if span.status.status_code is StatusCode.ERROR:
        error = UnitError(str(attributes.get(semconv.ERROR_TYPE, "Error")), span.status.description or "")
    metrics = {
        key: float(value)
        for attribute, key in _METRIC_OF_ATTRIBUTE.items()
        if isinstance(value := attributes.get(attribute), int | float)
    }
    return Unit(
        operation_id,
        span.context.trace_id,
        span.context.span_id,
        None if span.parent is None else span.parent.span_id,
        span.name,
        progress_type,
        context_of(progress_type, attributes),
        span.start_time,
        seen_ns,
        span.end_time,
        metrics or None,
        error,
        attributes.get(semconv.SPAN_STATE) == semconv.STATE_CANCELLED,
        getattr(span, "export_place", None),
    )


def progress_attributes(progress: Progress | None) -> dict[str, str | int | float]:
    """What a snapshot of an operation's root says of where the operation is."""
    if progress is None:
        return {}
    return {
        semconv.PROGRESS_RATIO: progress.percentage / 100,
        semconv.PROGRESS_MESSAGE: progress.message,
        **{
            semconv.ATTRIBUTE_OF_KEY[key]: value
            for key, value in progress.context.items()
            if key in semconv.ATTRIBUTE_OF_KEY and isinstance(value, str | int | float)
        },
    }


def context_of(progress_type: str | None, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The seed's context keys for what the attributes say."""
    keys = semconv.context_keys(progress_type)
    return {keys[attribute]: value for attribute, value in attributes.items() if attribute in keys}
