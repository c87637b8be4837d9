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
        None if row.error is None else UnitError(row.error.type, row.error.message),
        row.status is CheckpointStatus.CANCELLED,
    )
