"""Operations in a SQL database."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, Table, delete, func, insert, or_, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from ktrdr_otel.errors import OperationExistsError, UnknownOperationError
from ktrdr_otel.operations.durations import Kind
from ktrdr_otel.operations.logs import LogLine, by_operation
from ktrdr_otel.operations.models import Checkpoint, NewOperation, OperationStatus
from ktrdr_otel.operations.ports import Batch, Changes, Stored, StoredSpan
from ktrdr_otel.operations.samples import Sample
from ktrdr_otel.operations.step_row import ENDED, OPERATION, STARTED, row_of_unit, storable
from ktrdr_otel.operations.trace_debts import TraceDebt
from ktrdr_otel.operations.trace_export import TraceExport, TraceReceiver
from ktrdr_otel.storage import endings, learned, rows, traces
from ktrdr_otel.storage.bulk import BulkInsert
from ktrdr_otel.storage.changes import MemoryChanges, PostgresChanges, SqliteChanges
from ktrdr_otel.storage.engine import Database
from ktrdr_otel.storage.evidence import (
    Evidence,
    latest_samples_query,
    logs_query,
    samples_query,
    stored_line,
    stored_sample,
)
from ktrdr_otel.storage.queries import (
    checkpoints_query,
    ended_otherwise_query,
    ended_since_query,
    steps_query,
)
from ktrdr_otel.storage.tables import (
    cancel_requests,
    checkpoints,
    durations,
    logs,
    operations,
    samples,
    trace_marks,
)
from ktrdr_otel.storage.watching import watching

_MOST_FORGOTTEN = 10_000  # rows per transaction: nobody waits long for it
_FORGET = text("DELETE FROM checkpoints WHERE operation_key = :key AND span_id = :span AND ended_ns IS NULL")


class SqlOperationStore:
    """An `OperationStore` on a database; safe from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, int] = {}
        self._keys_lock = threading.Lock()
        dialect = database.engine.dialect
        self._insert = BulkInsert("checkpoints", rows.CHECKPOINT_COLUMNS, dialect)
        self._evidence = Evidence(dialect)
        self._upsert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert

    @property
    def is_in_memory(self) -> bool:
        """Whether no other process can see it."""
        return self._database.in_memory

    def frozen_writer(self) -> int | None:
        """The process that keeps everybody from writing, because it was stopped by a signal in the middle of it."""
        return self._database.frozen_writer()

    def create(self, new: NewOperation, *, wall_ns: int, monotonic_ns: int) -> None:
        """The operation is running; raises `OperationExistsError`."""
        row = rows.new_operation_row(new, wall_ns=wall_ns, monotonic_ns=monotonic_ns)
        with self._database.writing(durable=True) as connection:
            try:
                connection.execute(insert(operations), row)
            except IntegrityError as error:
                raise OperationExistsError(new.operation_id) from error
            if new.trace_export is not None:
                traces.begin_export(connection, new.operation_id, new.trace_export)

    def write(self, batch: Batch) -> None:
        """All of the batch is stored, or nothing; ends of operations survive a power failure."""
        # Before the transaction: others wait for that, and half a million durations take a while.
        cells = {} if batch.learned is None else batch.learned.cells()
        with self._database.writing(durable=bool(batch.endings)) as connection:
            self._write_checkpoints(connection, batch)
            for operation_id, logged in by_operation(batch.logs).items():
                self._evidence.keep(connection, self._key_of(connection, operation_id), logged)
            for operation_id, progress in batch.progress.items():
                endings.set_values(connection, operation_id, rows.progress_values(progress))
            for operation_id, (kind, name) in batch.names.items():
                endings.set_values(connection, operation_id, {"operation_type": kind, "name": name})
            for operation_id, ending in batch.endings.items():
                endings.end(connection, operation_id, ending)
            if batch.beating:
                mine = operations.c.operation_id.in_(batch.beating)
                connection.execute(
                    update(operations)
                    .where(mine)
                    .values(heartbeat_ns=batch.wall_ns, heartbeat_monotonic_ns=batch.monotonic_ns)
                )
                # Whoever took a frozen process for dead was wrong: it beats, and exports its own spans.
                back = connection.execute(
                    update(operations)
                    .where(mine, operations.c.status == OperationStatus.LOST.value)
                    .values(status=OperationStatus.RUNNING.value, lost_reason=None, ended_ns=None)
                    .returning(operations.c.operation_id)
                ).scalars()
                for operation_id in back.all():
                    traces.owe(connection, operation_id, owed=False)
            for operation_id, place in batch.confirmed.items():
                traces.confirm(connection, operation_id, place)
            for operation_id, marked in batch.marked.items():
                traces.mark(connection, operation_id, marked)
            learned.learn(connection, self._upsert(durations), cells)

    def get(self, operation_id: str) -> Stored:
        """The operation; raises `UnknownOperationError`."""
        found = self._read(select(operations).where(operations.c.operation_id == operation_id))
        if not found:
            raise UnknownOperationError(operation_id)
        return rows.stored_operation(found[0])

    def find(
        self,
        *,
        status: OperationStatus | None,
        operation_type: str | None,
        limit: int,
        before: str | None,
    ) -> list[Stored]:
        """Operations, the newest first; `before` is the id of the last one of the page before."""
        query = select(operations).order_by(operations.c.key.desc()).limit(limit)
        if status is not None:
            query = query.where(operations.c.status == status.value)
        if operation_type is not None:
            query = query.where(operations.c.operation_type == operation_type)
        if before is not None:
            last = select(operations.c.key).where(operations.c.operation_id == before).scalar_subquery()
            query = query.where(operations.c.key < last)
        return [rows.stored_operation(row) for row in self._read(query)]

    def following(self, operation_ids: Iterable[str], *, after_key: int) -> list[Stored]:
        """Those operations, all that run, and all that began after that key, in the order of their keys."""
        wanted = or_(
            operations.c.status == OperationStatus.RUNNING.value,
            operations.c.key > after_key,
            operations.c.operation_id.in_(list(operation_ids)),
        )
        query = select(operations).where(wanted).order_by(operations.c.key)
        return [rows.stored_operation(row) for row in self._read(query)]

    def ended_since(self, since_ns: int, *, limit: int) -> list[Stored]:
        """So many of the newest that have ended since then, in the order of their ends."""
        newest = self._read(ended_since_query(since_ns, limit=limit))
        return [rows.stored_operation(row) for row in reversed(newest)]

    def ended_otherwise(self, operation_ids: Iterable[str]) -> list[Stored]:
        """Those of the operations, which had been declared lost, that have ended in another way after all."""
        return [rows.stored_operation(row) for row in self._read(ended_otherwise_query(operation_ids))]

    def steps(self, *, after: int, limit: int, operation_id: str | None = None) -> list[Checkpoint]:
        """Ended units of work of a higher sequence, of one operation or of all, in order of sequence."""
        key = None if operation_id is None else self._key(operation_id)
        return [
            rows.stored_checkpoint(row["operation_id"], row)
            for row in self._read(steps_query(key, after=after, limit=limit))
        ]

    def latest_samples(self, operation_ids: Iterable[str]) -> dict[str, Sample]:
        """What the processes of those operations used when somebody looked last; only those that were looked at."""
        return {
            row["operation_id"]: stored_sample(row) for row in self._read(latest_samples_query(operation_ids))
        }

    def last_sequence(self) -> int:
        """The highest sequence given so far; 0 before the first."""
        return int(self._read(select(func.max(checkpoints.c.sequence).label("last")))[0]["last"] or 0)

    def measured(self, operation_id: str, *, after: int, limit: int) -> list[Checkpoint]:
        """Ended checkpoints that carry metrics, of a higher sequence than `after`, in order."""
        query = checkpoints_query(self._key(operation_id), after=after, limit=limit).where(
            checkpoints.c.metrics.is_not(None), checkpoints.c.ended_ns.is_not(None)
        )
        return [rows.stored_checkpoint(operation_id, row) for row in self._read(query)]

    def logs(self, operation_id: str, *, newest: int) -> list[LogLine]:
        """So many of its last log records, in order; raises `UnknownOperationError`."""
        return [stored_line(row) for row in self._read(logs_query(self._key(operation_id), newest=newest))]

    def samples(self, operation_id: str, *, most: int) -> list[Sample]:
        """What its process used, in order, the newest as it was; what is too much is put together."""
        return [stored_sample(row) for row in self._read(samples_query(self._key(operation_id), most=most))]

    def known_spans(self, operation_id: str, span_ids: Iterable[int]) -> dict[int, StoredSpan]:
        """Those of the spans that are stored already."""
        query = select(checkpoints.c.span_id, checkpoints.c.ended_ns, checkpoints.c.parent_span_id).where(
            checkpoints.c.operation_key == self._key(operation_id),
            checkpoints.c.span_id.in_([f"{span_id:016x}" for span_id in span_ids]),
        )
        return {
            int(row["span_id"], 16): StoredSpan(
                row["ended_ns"] is not None,
                None if row["parent_span_id"] is None else int(row["parent_span_id"], 16),
            )
            for row in self._read(query)
        }

    def forget_steps(self, *, ended_before_ns: int) -> int:
        """Checkpoints, markers, samples and log records of operations that ended before that time are gone."""
        ended = select(operations.c.key).where(operations.c.ended_ns < ended_before_ns)
        for table in (logs, samples, trace_marks):
            self._forget(table, ended)
        return self._forget(checkpoints, ended)

    def _forget(self, table: Table, ended: Select[Any]) -> int:
        key = table.primary_key.columns
        some = (
            select(*key)
            .where(table.c.operation_key.in_(ended))
            .order_by(table.c.operation_key, *key)
            .limit(_MOST_FORGOTTEN)
        )
        forgotten = 0
        while True:
            with self._database.writing() as connection:
                count = connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
            forgotten += count
            if count < _MOST_FORGOTTEN:
                return forgotten

    def changes(self) -> Changes:
        """Tells its caller of what is written from now on."""
        if self._database.is_postgresql:
            return PostgresChanges(self._database)
        return MemoryChanges() if self._database.in_memory else SqliteChanges(self._database)

    def checkpoints(self, operation_id: str, *, after: int, limit: int) -> list[Checkpoint]:
        """Checkpoints of a higher sequence than `after`, in order; raises `UnknownOperationError`."""
        key = self._key(operation_id)
        return [
            rows.stored_checkpoint(operation_id, row)
            for row in self._read(checkpoints_query(key, after=after, limit=limit))
        ]

    def request_cancel(self, operation_id: str, reason: str, *, wall_ns: int) -> None:
        """The worker of the operation will hear of it; raises `UnknownOperationError`."""
        key, reason = self._key(operation_id), storable(reason)
        with self._database.writing() as connection:
            request = self._upsert(cancel_requests).values(
                operation_key=key, reason=reason, requested_ns=wall_ns
            )
            connection.execute(request.on_conflict_do_nothing())
            endings.ask_to_end(connection, operation_id, reason)

    def cancel_reasons(self, operation_ids: Iterable[str]) -> dict[str, str]:
        """Those of the operations that somebody wants to stop, with the reason."""
        query = (
            select(operations.c.operation_id, cancel_requests.c.reason)
            .join(cancel_requests, cancel_requests.c.operation_key == operations.c.key)
            .where(operations.c.operation_id.in_(list(operation_ids)))
        )
        return {row["operation_id"]: row["reason"] for row in self._read(query)}

    def durations(self) -> dict[Kind, float]:
        """Mean seconds per kind of unit, from completed operations."""
        return learned.means_of(self._read(learned.totals_query()))

    def p99_seconds(self) -> dict[Kind, float]:
        """The 99th percentile of seconds per kind of unit, from completed operations."""
        return learned.p99_of(self._read(learned.buckets_query()))

    def mark_lost(self, operation_id: str, *, reason: str, ended_ns: int, heartbeat_ns: int) -> bool:
        """Whether it was this call that declared the operation lost: it ran, and had no heartbeat since that one."""
        with self._database.writing(durable=True) as connection:
            return endings.lose(
                connection, operation_id, reason=reason, ended_ns=ended_ns, heartbeat_ns=heartbeat_ns
            )

    def traces_owed(self, *, now_ns: int, due: bool = True) -> list[str]:
        """Operations whose process can export no more; with `due` those whose trace anybody may complete now."""
        return [row["operation_id"] for row in self._read(traces.owed_query(now_ns=now_ns, due=due))]

    def trace_export(self, operation_id: str) -> TraceExport | None:
        """How the operation's trace is exported; None where it is not, or where nobody else could."""
        found = self._read(traces.export_query(operation_id))
        return traces.stored_export(found[0]) if found else None

    def trace_debt(self, operation_id: str) -> TraceDebt | None:
        """What the operation's trace owes, whoever has the turn to send it; None where it owes nothing."""
        with self._database.reading() as connection:
            return traces.debt_of(connection, operation_id)

    def take_trace(self, operation_id: str, *, now_ns: int, first: bool = False) -> TraceDebt | None:
        """What the operation's trace owes, if it was this call that got the turn to send it."""
        with self._database.writing() as connection:
            is_ours = traces.take_turn(connection, operation_id, now_ns=now_ns, first=first)
            return traces.debt_of(connection, operation_id) if is_ours else None

    def owed_checkpoints(
        self, operation_id: str, confirmed: int, *, left_open: bool, after: int, limit: int
    ) -> list[Checkpoint]:
        """Those that have no place in the export queue, or one beyond the confirmed, in order of sequence."""
        key = self._key(operation_id)
        query = traces.owed_checkpoints_query(key, confirmed, left_open=left_open, after=after, limit=limit)
        return [rows.stored_checkpoint(operation_id, row) for row in self._read(query)]

    def spans_arrived(self, operation_id: str, sequences: Sequence[int], *, now_ns: int) -> None:
        """The spans of those checkpoints owe nothing any more; the turn lasts a minute from now."""
        with self._database.writing() as connection:
            traces.arrived(connection, operation_id, sequences, now_ns=now_ns)

    def put_off_trace(self, operation_id: str, receivers: Sequence[TraceReceiver], *, now_ns: int) -> None:
        """Those receivers did not take it, and are owed it still: somebody may try again later."""
        with self._database.writing() as connection:
            traces.put_off(connection, operation_id, receivers, now_ns=now_ns)

    def leave_trace(self, operation_id: str, *, confirmed: int, marked: Mapping[int, bool]) -> None:
        """The operation's process exports no more, and somebody has to send what comes after that place."""
        with self._database.writing() as connection:
            traces.confirm(connection, operation_id, confirmed)
            traces.mark(connection, operation_id, marked)
            traces.owe(connection, operation_id, owed=True)

    def trace_complete(self, operation_id: str) -> None:
        """The operation's trace owes nothing."""
        with self._database.writing() as connection:
            traces.complete(connection, operation_id)

    def watching(self) -> dict[str, Any]:
        """What a watcher process needs to write to the store by itself."""
        return watching(self._database)

    def describe(self) -> str:
        """Where it is, for people; without secrets."""
        return self._database.name

    def close(self) -> None:
        """Its connections are closed."""
        self._database.close()

    def forget_after_fork(self) -> None:
        """The parent's connections are dropped without being closed."""
        self._keys_lock = threading.Lock()
        self._database.forget_after_fork()

    def _key(self, operation_id: str) -> int:
        with self._keys_lock:
            key = self._keys.get(operation_id)
        if key is None:
            found = self._read(select(operations.c.key).where(operations.c.operation_id == operation_id))
            if not found:
                raise UnknownOperationError(operation_id)
            key = int(found[0]["key"])
            with self._keys_lock:
                self._keys[operation_id] = key
        return key

    def _key_of(self, connection: Connection, operation_id: str) -> int:
        """The key of an operation that exists, asked inside a transaction."""
        key = self._keys.get(operation_id)
        if key is None:
            query = select(operations.c.key).where(operations.c.operation_id == operation_id)
            key = self._keys[operation_id] = int(connection.execute(query).scalar_one())
        return key

    def _write_checkpoints(self, connection: Connection, batch: Batch) -> None:
        if batch.closed:
            # A finished checkpoint takes a new place in the sequence.
            connection.execute(
                _FORGET,
                [
                    {"key": self._keys[unit.operation_id], "span": f"{unit.span_id:016x}"}
                    for unit in batch.closed
                ],
            )
        ended = [*batch.rows, *(row_of_unit(unit) for unit in (*batch.finished, *batch.closed))]
        ended.sort(key=itemgetter(ENDED, STARTED))
        steps = [*ended, *(row_of_unit(unit) for unit in batch.started)]
        if steps:
            for operation_id in {step[OPERATION] for step in steps}:
                self._key_of(connection, operation_id)
            self._insert.run(connection, [(self._keys[step[OPERATION]], *step[1:]) for step in steps])

    def _read(self, query: Select[Any]) -> Sequence[Any]:
        with self._database.reading() as connection:
            return connection.execute(query).mappings().all()
