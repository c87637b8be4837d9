"""Where traces go, how much of them has arrived, and whose turn it is to send the rest."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Select,
    Text,
    Update,
    delete,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ktrdr_otel.operations.models import CheckpointStatus, OperationStatus
from ktrdr_otel.operations.trace_debts import TraceDebt
from ktrdr_otel.operations.trace_export import TraceExport, TraceReceiver
from ktrdr_otel.storage import rows
from ktrdr_otel.storage.tables import checkpoints, operations, trace_exports, trace_marks

# Whoever has taken a turn and says nothing for so long has died of it.
_TURN_NS: Final = 60 * 10**9
# Longer than a request takes: who has the better right to a turn waits for one that is under way.
_REQUEST_NS: Final = 12 * 10**9
# How long a process that has ended its operation may go on sending; it says when it is done.
_LEAVING_NS: Final = 120 * 10**9
_FIRST_PAUSE_NS: Final = 15 * 10**9
_LONGEST_PAUSE_NS: Final = 600 * 10**9
# The receiver of a trace that could not be sent for so long is not coming back.
GIVEN_UP_AFTER_NS: Final = 24 * 3600 * 10**9


def key_of(operation_id: str) -> ScalarSelect[int]:
    """The operation's key, as a query."""
    return select(operations.c.key).where(operations.c.operation_id == operation_id).scalar_subquery()


def begin_export(connection: Connection, operation_id: str, export: TraceExport) -> None:
    """It is known where the operation's trace goes."""
    connection.execute(
        insert(trace_exports).values(
            operation_key=key_of(operation_id),
            receivers=_stored_receivers(export.receivers),
            live=export.live,
            resource=dict(export.resource),
            scope_version=export.scope_version,
        )
    )


def confirm(connection: Connection, operation_id: str, place: int) -> None:
    """Everything up to that place has arrived."""
    connection.execute(_export_of(operation_id).values(confirmed=place))


def mark(connection: Connection, operation_id: str, marked: Mapping[int, bool]) -> None:
    """Those spans have markers, or have none after all; nothing is said of an operation that is not there."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    for span_id, has_marker in marked.items():
        if not has_marker:
            of_span = (
                trace_marks.c.operation_key == key_of(operation_id),
                trace_marks.c.span_id == f"{span_id:016x}",
            )
            connection.execute(delete(trace_marks).where(*of_span))
            continue
        mine = select(operations.c.key, literal(f"{span_id:016x}", Text)).where(
            operations.c.operation_id == operation_id
        )
        made = upsert(trace_marks).from_select(["operation_key", "span_id"], mine)
        connection.execute(made.on_conflict_do_nothing())


def owe(connection: Connection, operation_id: str, *, owed: bool) -> None:
    """The operation's process can send no more of its trace, or it can after all."""
    connection.execute(_export_of(operation_id).values(owed=owed, next_try_ns=0, tries=0))


def expect(connection: Connection, operation_id: str, *, ended_ns: int) -> None:
    """The operation has ended, and its process has a while to send the rest: if it dies meanwhile others do."""
    last_ns = ended_ns + _LEAVING_NS
    connection.execute(_export_of(operation_id).values(owed=True, next_try_ns=last_ns, tries=0))


def export_query(operation_id: str) -> Select[Any]:
    """How the operation's trace is exported."""
    return select(trace_exports).where(trace_exports.c.operation_key == key_of(operation_id))


def stored_export(row: Mapping[str, Any]) -> TraceExport:
    """The export of a row."""
    return TraceExport(
        receivers=tuple(TraceReceiver(**each) for each in row["receivers"]),
        live=row["live"],
        resource=row["resource"],
        scope_version=row["scope_version"],
    )


def owed_query(*, now_ns: int, due: bool) -> Select[Any]:
    """The ids of operations whose trace is owed; with `due` only those that anybody may try to complete now."""
    query = (
        select(operations.c.operation_id)
        .join(trace_exports, trace_exports.c.operation_key == operations.c.key)
        .where(trace_exports.c.owed, operations.c.ended_ns > now_ns - GIVEN_UP_AFTER_NS)
        .order_by(operations.c.key)
    )
    return query.where(trace_exports.c.next_try_ns <= now_ns) if due else query


def owed_checkpoints_query(
    operation_key: int, confirmed: int, *, left_open: bool, after: int, limit: int
) -> Select[Any]:
    """Checkpoints whose spans are not known to have arrived: those that death left open, or those that had ended.

    By sequence and not by place: each page goes on in the index of the operation's checkpoints where the last one
    ended, and a trace of any length is walked over once for each of the two.
    """
    place, status = checkpoints.c.export_place, checkpoints.c.status
    open_ones = (CheckpointStatus.LOST.value, CheckpointStatus.RUNNING.value)
    return (
        select(checkpoints)
        .where(
            checkpoints.c.operation_key == operation_key,
            checkpoints.c.sequence > after,
            or_(place.is_(None), place > confirmed),
            status.in_(open_ones) if left_open else status.not_in(open_ones),
        )
        .order_by(checkpoints.c.sequence)
        .limit(limit)
    )


def arrived(connection: Connection, operation_id: str, sequences: Sequence[int], *, now_ns: int) -> None:
    """Spans of those checkpoints are not to be exported any more; whoever says so has the turn for longer."""
    if sequences:
        connection.execute(
            update(checkpoints)
            .where(
                checkpoints.c.operation_key == key_of(operation_id),
                checkpoints.c.sequence.in_(sequences),
            )
            .values(export_place=0)
        )
    connection.execute(
        _export_of(operation_id).where(trace_exports.c.owed).values(next_try_ns=now_ns + _TURN_NS)
    )


def take_turn(connection: Connection, operation_id: str, *, now_ns: int, first: bool) -> bool:
    """Whether it was this call that got the turn: one conditional update decides.

    Who is `first` does not wait for the next try, only for a request that may be under way; and its tries do not
    lengthen the pauses of those who come after it.
    """
    taken = connection.execute(
        _export_of(operation_id)
        .where(
            trace_exports.c.owed,
            trace_exports.c.next_try_ns <= now_ns + (_TURN_NS - _REQUEST_NS if first else 0),
        )
        .values(next_try_ns=now_ns + _TURN_NS, tries=trace_exports.c.tries + (0 if first else 1))
    )
    return taken.rowcount > 0


def debt_of(connection: Connection, operation_id: str) -> TraceDebt | None:
    """What is owed; None where nothing is."""
    both = select(operations, trace_exports).join(
        trace_exports, trace_exports.c.operation_key == operations.c.key
    )
    owed = both.where(operations.c.operation_id == operation_id, trace_exports.c.owed)
    found = connection.execute(owed).mappings().one_or_none()
    if found is None:
        return None
    row = dict(found)
    marked = connection.execute(
        select(trace_marks.c.span_id).where(trace_marks.c.operation_key == row["key"])
    ).scalars()
    stored = rows.stored_operation(row)
    return TraceDebt(
        operation=stored.operation,
        root_span_id=row["span_id"],
        worker=stored.heartbeat.worker,
        export=stored_export(row),
        confirmed=row["confirmed"],
        marked=frozenset(marked),
    )


def put_off(
    connection: Connection, operation_id: str, receivers: Sequence[TraceReceiver], *, now_ns: int
) -> None:
    """Those receivers did not take it, alone they are owed: the next try comes after a pause that doubles with each."""
    tries = connection.execute(
        select(trace_exports.c.tries).where(trace_exports.c.operation_key == key_of(operation_id))
    ).scalar_one()
    pause_ns = min(_FIRST_PAUSE_NS << min(max(tries - 1, 0), 10), _LONGEST_PAUSE_NS)
    still_owed = _export_of(operation_id).where(trace_exports.c.owed)
    connection.execute(
        still_owed.values(next_try_ns=now_ns + pause_ns, receivers=_stored_receivers(receivers))
    )


def complete(connection: Connection, operation_id: str) -> None:
    """Every receiver has everything, and nobody has to know any more what was marked.

    But where the process was only frozen and is back: it can die yet.
    """
    owe(connection, operation_id, owed=False)
    ended = select(operations.c.key).where(
        operations.c.operation_id == operation_id, operations.c.status != OperationStatus.RUNNING.value
    )
    connection.execute(delete(trace_marks).where(trace_marks.c.operation_key.in_(ended)))


def _stored_receivers(receivers: Iterable[TraceReceiver]) -> list[dict[str, str]]:
    return [{"protocol": each.protocol, "endpoint": each.endpoint} for each in receivers]


def _export_of(operation_id: str) -> Update:
    return update(trace_exports).where(trace_exports.c.operation_key == key_of(operation_id))
