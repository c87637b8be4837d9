"""The OperationsService: begins, follows and ends operations, and tells everyone how they are."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ktrdr_otel.clock import Clock
from ktrdr_otel.context import KEPT_LOGS
from ktrdr_otel.errors import StoreError, UncancellableError
from ktrdr_otel.operations import lease
from ktrdr_otel.operations.allowances import Allowances
from ktrdr_otel.operations.durations import DRILL, Kind
from ktrdr_otel.operations.judgement import Judgement
from ktrdr_otel.operations.logs import LogInbox, LogLine
from ktrdr_otel.operations.models import (
    Checkpoint,
    Ending,
    NewOperation,
    Operation,
    OperationStatus,
    Progress,
)
from ktrdr_otel.operations.owed_traces import OwedTraces
from ktrdr_otel.operations.ports import Batch, Changes, OperationStore, StoredSpan
from ktrdr_otel.operations.samples import Sample
from ktrdr_otel.operations.stack import StackTaken, py_spy
from ktrdr_otel.operations.stack import take as take_stack
from ktrdr_otel.operations.step_row import StepRow
from ktrdr_otel.operations.trace_export import ExportLedger, TraceExport
from ktrdr_otel.operations.worker import boot_id, pid_namespace
from ktrdr_otel.operations.writer import Writer, WriterHealth
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.settings import Settings

logger = logging.getLogger(__name__)

_NO_KEY = 2**62  # after every operation that there can be
_LOOK_SECONDS = 1.0  # a lease runs out without anyone writing
_PAGE = 1000


ProgressListener = Callable[[str, Progress], None]


class OperationsService:
    """Operations of one store. Reading starts no thread; the first `begin` starts the writer."""

    def __init__(self, store: OperationStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.traces = OwedTraces(store, clock)
        self._judgement = Judgement(store, clock)
        self._listener: ProgressListener | None = None
        self._settings = settings
        self._shutdown_timeout_seconds = settings.shutdown_timeout_seconds
        self._writer = Writer(
            store,
            clock=clock,
            flush_interval_seconds=settings.flush_interval_seconds,
            heartbeat_interval_seconds=settings.heartbeat_interval_seconds,
        )

    def begin(
        self,
        new: NewOperation,
        on_cancel_requested: Callable[[str], None],
        *,
        logs: LogInbox | None = None,
        ledger: ExportLedger | None = None,
    ) -> None:
        """The operation is stored as running, and from now on what comes into `logs`.

        `on_cancel_requested` hears the reason, in the writer's thread, when somebody asks it to stop; the `ledger` is
        asked there how far the export of its spans is. Raises `OperationExistsError` and `StoreUnavailableError`.
        """
        self._store.create(new, wall_ns=self._clock.wall_ns(), monotonic_ns=self._clock.monotonic_ns())
        self._writer.begin(
            new.operation_id,
            on_cancel_requested,
            logs=LogInbox() if logs is None else logs,
            ledger=ledger,
            teaches=new.operation_type != DRILL,
        )

    def adopt(self, new: NewOperation) -> None:
        """The operation, which runs elsewhere and is reported to us, is stored as running.

        Raises `OperationExistsError` and `StoreUnavailableError`.
        """
        self._store.create(new, wall_ns=self._clock.wall_ns(), monotonic_ns=self._clock.monotonic_ns())

    def has_worker(self, operation_id: str) -> bool:
        """Whether a process writes the operation to this store itself; raises `UnknownOperationError`."""
        return self._store.get(operation_id).heartbeat.lease_seconds > 0

    def known_spans(self, operation_id: str, span_ids: Iterable[int]) -> dict[int, StoredSpan]:
        """Those of the spans that are stored already."""
        return self._store.known_spans(operation_id, span_ids)

    def write(self, batch: Batch) -> None:
        """All of the batch is stored now, or nothing; raises `StoreError`."""
        batch.wall_ns, batch.monotonic_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        self._store.write(batch)

    def record(self, unit: Unit) -> None:
        """The unit will be in the store with the next flush; O(1), never raises."""
        self._writer.record(unit)

    def record_rows(self, rows: Sequence[StepRow]) -> None:
        """These units, which ended well, will be in the store with the next flush; never raises."""
        self._writer.record_rows(rows)

    def progress(self, operation_id: str, progress: Progress) -> None:
        """The state will be in the store with the next flush, if none newer comes before."""
        self._writer.progress(operation_id, progress)
        if (listener := self._listener) is not None:
            listener(operation_id, progress)

    def end(self, operation_id: str, ending: Ending) -> bool:
        """Whether the end is stored, with all before it, within the shutdown timeout."""
        return self._writer.end(operation_id, ending, self._shutdown_timeout_seconds)

    def flush(self) -> bool:
        """Whether all that was recorded before the call is stored."""
        return self._writer.flush()

    def health(self) -> WriterHealth:
        """What the writer went through so far."""
        return self._writer.health

    def waiting(self) -> int:
        """Checkpoints that are recorded and not stored yet."""
        return self._writer.waiting

    def get(self, operation_id: str) -> Operation:
        """The operation as it is now; raises `UnknownOperationError`."""
        return self._judgement.of(self._store.get(operation_id))

    def list(
        self,
        *,
        status: OperationStatus | None = None,
        operation_type: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Operation]:
        """Operations, the newest first; `before` is the id of the last one of the page before.

        `lost` is judged, not stored: asking for it, or for `running`, looks at those that are stored as running.
        """
        stored = OperationStatus.RUNNING if status is OperationStatus.LOST else status
        found: list[Operation] = []
        while len(found) < limit:
            page = self._store.find(status=stored, operation_type=operation_type, limit=limit, before=before)
            judged = [self._judgement.of(each) for each in page]
            found.extend(each for each in judged if status is None or each.status is status)
            if len(page) < limit:
                break
            before = page[-1].operation.operation_id
        return found[:limit]

    def checkpoints(self, operation_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Checkpoint]:
        """Checkpoints of a higher sequence than `after`, in order of sequence.

        Raises `UnknownOperationError`.
        """
        return self._store.checkpoints(operation_id, after=after, limit=limit)

    def logs(self, operation_id: str, *, newest: int = KEPT_LOGS) -> Sequence[LogLine]:
        """So many of its last log records, in order; raises `UnknownOperationError`."""
        return self._store.logs(operation_id, newest=newest)

    def samples(self, operation_id: str, *, most: int = 240) -> Sequence[Sample]:
        """What its process used, in order, the newest as it was; a long run's are put together, to 2 or more.

        Raises `UnknownOperationError`.
        """
        return self._store.samples(operation_id, most=most)

    def following(self, operation_ids: Iterable[str], *, after_key: int) -> tuple[Sequence[Operation], int]:
        """Those operations, all that run, and all that began after that key; and the highest key so far."""
        found = self._store.following(operation_ids, after_key=after_key)
        return [self._judgement.of(each) for each in found], max([after_key, *(each.key for each in found)])

    def ended_lately(self, *, seconds: float, limit: int) -> Sequence[Operation]:
        """So many of the newest that have ended within that time, in the order of their ends."""
        since_ns = self._clock.wall_ns() - int(seconds * 1e9)
        return [each.operation for each in self._store.ended_since(since_ns, limit=limit)]

    def ended_otherwise(self, operation_ids: Iterable[str]) -> Sequence[Operation]:
        """Those of the operations, which had been declared lost, that have ended in another way after all."""
        return [each.operation for each in self._store.ended_otherwise(operation_ids)]

    def steps(self, *, after: int, limit: int, operation_id: str | None = None) -> Sequence[Checkpoint]:
        """Finished units of a higher sequence than `after`, of one operation or of all, in order of sequence."""
        return self._store.steps(after=after, limit=limit, operation_id=operation_id)

    def latest_samples(self, operation_ids: Iterable[str]) -> dict[str, Sample]:
        """What the processes of those operations used when somebody looked last; only those that were looked at."""
        return self._store.latest_samples(operation_ids)

    def last_sequence(self) -> int:
        """The highest sequence of a checkpoint so far; 0 before the first."""
        return self._store.last_sequence()

    def last_key(self) -> int:
        """The key of the operation that began last; 0 before the first."""
        newest = self._store.find(status=None, operation_type=None, limit=1, before=None)
        return newest[0].key if newest else 0

    def measured(self, operation_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Checkpoint]:
        """Checkpoints that carry metrics, of a higher sequence than `after`; raises `UnknownOperationError`."""
        return self._store.measured(operation_id, after=after, limit=limit)

    def follow(self, operation_id: str) -> Iterator[Checkpoint | Operation]:
        """Each finished step from the first on, and each new state, to the end; raises `UnknownOperationError`."""
        changes = self.changes()
        cursor, told = 0, None
        try:
            while True:
                changes.wait(_LOOK_SECONDS)
                # The state first: by the time that it has ended all of its steps are in the store.
                operation = self.get(operation_id)
                while steps := self.steps(after=cursor, limit=_PAGE, operation_id=operation_id):
                    yield from steps
                    cursor = steps[-1].sequence
                if operation != told:
                    yield operation
                    told = operation
                if operation.status.is_terminal:
                    return
        finally:
            changes.close()
            changes.forget()

    def changes(self) -> Changes:
        """Tells its caller of what any process writes to the store from now on."""
        return self._store.changes()

    def forget_steps(self, *, older_than_seconds: float) -> int:
        """Checkpoints of operations that ended longer ago are gone; returns how many."""
        return self._store.forget_steps(ended_before_ns=self._clock.wall_ns() - int(older_than_seconds * 1e9))

    def listen(self, listener: ProgressListener | None) -> None:
        """The listener hears every state of operations of this process as it is recorded, and must be quick."""
        self._listener = listener

    def request_cancel(self, operation_id: str, reason: str = "Operation cancelled") -> str:
        """The operation will stop at its next checkpoint, for the reason that was given first, which is returned.

        Raises `UnknownOperationError` and `UncancellableError`.
        """
        operation = self.get(operation_id)
        if operation.status.is_terminal:
            raise UncancellableError(f"operation {operation_id} is {operation.status.value} already")
        if not self.has_worker(operation_id):
            raise UncancellableError(f"operation {operation_id} is only reported here; stop it where it runs")
        self._store.request_cancel(operation_id, reason, wall_ns=self._clock.wall_ns())
        return self.get(operation_id).cancel_reason or reason

    def durations(self) -> dict[Kind, float]:
        """Mean seconds per kind of unit, from completed operations; none where the store does not tell them."""
        return self._learned(self._store.durations)

    def allowances(self) -> Allowances:
        """How long steps may take, learned from completed operations where the store tells them."""
        settings = self._settings
        return Allowances(
            self._learned(self._store.p99_seconds),
            factor=settings.stall_factor,
            floor_seconds=settings.stall_floor_seconds,
            unknown_seconds=settings.stall_unknown_seconds,
        )

    @staticmethod
    def _learned(read: Callable[[], dict[Kind, float]]) -> dict[Kind, float]:
        """Without what earlier runs teach a run is observed none the worse, but for its estimates."""
        try:
            return read()
        except StoreError as error:
            logger.warning("what earlier runs took is not known: %s", error)
            return {}

    def stack(self, operation_id: str) -> StackTaken:
        """All threads of the operation's process, taken now; the process has to be on this machine.

        Raises `UnknownOperationError`.
        """
        stored = self._store.get(operation_id)
        worker = stored.heartbeat.worker
        if stored.operation.status is not OperationStatus.RUNNING:
            return StackTaken(False, f"operation {operation_id} is {stored.operation.status.value}")
        if worker.boot_id != boot_id() or worker.pid_namespace != pid_namespace():
            return StackTaken(False, f"operation {operation_id} runs on {worker.host or 'another machine'}")
        if lease.look(worker) != worker.pid_started_ticks:
            return StackTaken(False, f"process {worker.pid} is gone")
        taken = take_stack(py_spy(), worker.pid)
        return StackTaken(False, taken) if isinstance(taken, str) else StackTaken(True, taken.text())

    def reap(self) -> Sequence[str]:
        """Operations whose process is gone are stored as lost; returns those that this call declared so.

        Safe from several processes at once, and again and again: one conditional update decides.
        """
        reaped = []
        for stored in self._store.following((), after_key=_NO_KEY):
            judged = self._judgement.of(stored)
            if judged.status is not OperationStatus.LOST or judged.lost_reason is None:
                continue
            if self._store.mark_lost(
                judged.operation_id,
                reason=judged.lost_reason,
                ended_ns=stored.heartbeat.wall_ns,
                heartbeat_ns=stored.heartbeat.wall_ns,
            ):
                logger.warning("operation %s is lost: %s", judged.operation_id, judged.lost_reason)
                reaped.append(judged.operation_id)
        return reaped

    def trace_export(self, operation_id: str) -> TraceExport | None:
        """How the operation's trace is exported; None where it is not, or where nobody else could."""
        return self._store.trace_export(operation_id)

    @property
    def database_url(self) -> str:
        """Where the store is, for another process: it may hold a password."""
        return self._settings.database_url

    @property
    def is_in_memory(self) -> bool:
        """Whether no other process can see the store."""
        return self._store.is_in_memory

    def watching(self) -> dict[str, Any]:
        """What a watcher process needs to write to the store by itself."""
        return self._store.watching()

    def describe(self) -> str:
        """Where the store is, for people."""
        return self._store.describe()

    def close(self) -> None:
        """What was recorded is stored if the store is there; its connections are closed."""
        self._writer.flush()
        self._store.close()

    def forget_after_fork(self) -> None:
        """The child of a fork has no writer, and none of its parent's connections."""
        self._writer.forget_after_fork()
        self._store.forget_after_fork()
