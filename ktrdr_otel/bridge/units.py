"""From checkpoints, and from spans that no checkpoint made, to units of progress."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from ktrdr_otel import semconv
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.operations.models import CheckpointStatus, Progress
from ktrdr_otel.operations.step_row import StepRow, storables
from ktrdr_otel.progress.events import Unit, UnitError

_METRIC_OF_ATTRIBUTE = {attribute: key for key, attribute in semconv.TRAINING_METRICS.items()}
# Containers and holds count nothing, an epoch tells the bridge of its end.
_MORE_THAN_COUNTED: Final = frozenset({None, semconv.HOLD, semconv.EPOCH})
# What a unit or its operation says of a span otherwise.
_SAID_OTHERWISE: Final = frozenset(
    {
        semconv.OPERATION_ID,
        semconv.OPERATION_TYPE,
        semconv.OPERATION_NAME,
        semconv.OPERATION_STATUS,
        semconv.PROGRESS_TYPE,
        semconv.PROGRESS_RATIO,
        semconv.PROGRESS_MESSAGE,
        semconv.SPAN_STATE,
        semconv.ERROR_TYPE,
        *semconv.TRAINING_METRICS.values(),
    }
)
# The attributes whose place in a row depends on the progress type; "", which nothing is called, where it has none.
_ANY_TYPE: Final = "any word"
_PLACES: Final = {
    progress_type: tuple(
        attribute if attribute in semconv.context_keys(progress_type) else ""
        for attribute in (semconv.STEP, semconv.ITEM_NAME, semconv.ITEM_INDEX, semconv.ITEM_TOTAL)
    )
    for progress_type in (*semconv.KEY_OF_ATTRIBUTE, _ANY_TYPE)
}


def unit_of_checkpoint(checkpoint: Checkpoint, operation_id: str) -> Unit:
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
        checkpoint.began_monotonic_ns,
    )


def is_counted_alone(checkpoint: Checkpoint) -> bool:
    """Whether all that its end says is that one more unit is done: it ended well, with nothing to add."""
    return (
        checkpoint.error is None
        and checkpoint.added is None
        and not checkpoint.cancelled
        and checkpoint.metrics is None
        and checkpoint.attributes.get(semconv.PROGRESS_TYPE) not in _MORE_THAN_COUNTED
    )


def rows_of(checkpoints: Iterable[Checkpoint], operation_id: str) -> list[StepRow]:
    """The rows of checkpoints that are counted alone, straight from their attributes: they are the many."""
    rows: list[StepRow] = []
    of_any = _PLACES[_ANY_TYPE]
    parent_id, parent_hex = 0, None
    trace_id, trace_hex = 0, ""
    for checkpoint in checkpoints:
        attributes = checkpoint.attributes
        get = attributes.get
        identity = checkpoint.identity()
        if identity.trace_id != trace_id:
            trace_id = identity.trace_id
            trace_hex = f"{trace_id:032x}"
        parent = checkpoint.parent
        if parent is not None:
            its_id = parent.identity().span_id
            if its_id != parent_id:
                parent_id, parent_hex = its_id, f"{its_id:016x}"
        progress_type = get(semconv.PROGRESS_TYPE)
        step, item, index, total = _PLACES.get(progress_type, of_any)
        name = get(item)
        rows.append(
            (
                operation_id,
                *storables(
                    (
                        progress_type,
                        checkpoint.name,
                        get(step),
                        get(semconv.SYMBOL_NAME),
                        get(semconv.SYMBOL_INDEX),
                        get(semconv.SYMBOL_TOTAL),
                        get(semconv.TIMEFRAME),
                        name if name is None or name.__class__ is str else str(name),
                        get(index),
                        get(total),
                    )
                ),
                checkpoint.started_ns,
                checkpoint.ended_ns,
                CheckpointStatus.COMPLETED.value,
                trace_hex,
                f"{identity.span_id:016x}",
                None if parent is None else parent_hex,
                None,
                None,
                None,
                checkpoint.export_place,
                None,
            )
        )
    return rows


def ended_unit(started: Unit, checkpoint: Checkpoint) -> Unit:
    """The same unit at its end."""
    error = checkpoint.error
    return started._replace(
        seen_monotonic_ns=checkpoint.ended_monotonic_ns,
        ended_ns=checkpoint.ended_ns,
        metrics=checkpoint.metrics,
        error=None if error is None else UnitError(*error),
        cancelled=checkpoint.cancelled,
        export_place=checkpoint.export_place,
        attributes=None
        if checkpoint.added is None
        else other_attributes(started.progress_type, checkpoint.added),
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
        other_attributes(progress_type, attributes),
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


def other_attributes(progress_type: str | None, attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Those that are in no context, and that nothing else of a unit says; None if there are none."""
    keys = semconv.context_keys(progress_type)
    others = {
        name: value for name, value in attributes.items() if name not in keys and name not in _SAID_OTHERWISE
    }
    return others or None


def context_of(progress_type: str | None, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The seed's context keys for what the attributes say."""
    keys = semconv.context_keys(progress_type)
    return {keys[attribute]: value for attribute, value in attributes.items() if attribute in keys}
