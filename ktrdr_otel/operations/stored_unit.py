"""From stored checkpoints back to units of progress."""

from ktrdr_otel import semconv
from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus
from ktrdr_otel.progress.events import Unit, UnitError


def unit_of(row: Checkpoint) -> Unit:
    """The unit that the checkpoint was stored from, as far as the store keeps it."""
    keys = semconv.context_keys(row.progress_type)
    told = {
        semconv.STEP: row.step,
        semconv.SYMBOL_NAME: row.symbol,
        semconv.SYMBOL_INDEX: row.symbol_index,
        semconv.SYMBOL_TOTAL: row.symbol_total,
        semconv.TIMEFRAME: row.timeframe,
        semconv.ITEM_NAME: row.item_name,
        semconv.ITEM_INDEX: row.item_index,
        semconv.ITEM_TOTAL: row.item_total,
    }
    context = {keys[name]: value for name, value in told.items() if value is not None and name in keys}
    return Unit(
        row.operation_id,
        int(row.trace_id, 16),
        int(row.span_id, 16),
        None if row.parent_span_id is None else int(row.parent_span_id, 16),
        row.name,
        row.progress_type,
        context,
        ns_from_utc(row.started_at),
        0,
        None if row.ended_at is None else ns_from_utc(row.ended_at),
        row.metrics or None,
        _error_of(row),
        row.status is CheckpointStatus.CANCELLED,
    )


def _error_of(row: Checkpoint) -> UnitError | None:
    if row.error is not None:
        return UnitError(row.error.type, row.error.message)
    if row.status is CheckpointStatus.LOST:
        # It has an end in the store, which is that of its operation: it never said that it was done.
        return UnitError(CheckpointStatus.LOST.value, "its process was gone before it had ended")
    return None
