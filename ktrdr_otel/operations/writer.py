"""The one thread that writes to the store: in batches, with heartbeats, and never in the observed program's way."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ktrdr_otel import faults
from ktrdr_otel.clock import Clock
from ktrdr_otel.errors import StoreError, StoreUnavailableError
from ktrdr_otel.operations.durations import Learned
from ktrdr_otel.operations.logs import Logged, LogInbox, by_operation
from ktrdr_otel.operations.models import Ending, OperationStatus, Progress
from ktrdr_otel.operations.ports import Batch, OperationStore
from ktrdr_otel.operations.step_row import OPERATION, StepRow
from ktrdr_otel.operations.trace_export import ExportLedger
from ktrdr_otel.progress.events import Unit

logger = logging.getLogger(__name__)

_MAX_WAITING = 200_000  # checkpoints kept while the store is away; what comes after is dropped and counted


@dataclass(slots=True)
class WriterHealth:
    """What the writer went through."""

    flushes: int = 0
    flush_seconds: float = 0.0  # that they took
    failures: int = 0
    dropped_checkpoints: int = 0
    refused_checkpoints: int = 0  # those of the dropped that the store will never take
    dropped_logs: int = 0
    last_error: str | None = None


class Writer:
    """Collects what happens and stores it every `flush_interval_seconds`.

    `record` and `progress` only append: O(1), no I/O, they never raise. While the store is away checkpoints wait
    (up to a bound, beyond which the newest are dropped and counted); of the state the latest is kept, always.
    """

    def __init__(
        self,
        store: OperationStore,
        *,
        clock: Clock,
        flush_interval_seconds: float,
        heartbeat_interval_seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._flush_interval_seconds = flush_interval_seconds
        self._heartbeat_interval_ns = int(heartbeat_interval_seconds * 1e9)
        self._units: deque[Unit] = deque()
        self._rows: deque[StepRow] = deque()
        self._waiting = Batch()  # the next flush's, or the one that is being written
        self._progress: dict[str, Progress] = {}
        self._open: dict[int, str] = {}  # span ids stored as open -> their operation
        self._on_cancel: dict[str, Callable[[str], None]] = {}
        self._logs: dict[str, LogInbox] = {}
        self._learned: dict[str, Learned] = {}
        self._ledgers: dict[str, tuple[ExportLedger, int]] = {}  # and the place that is stored
        self._stored_endings: dict[str, threading.Event] = {}
        self._endings: dict[str, Ending] = {}  # that no flush has taken yet
        self._next_beat_ns = 0
        self._lock = threading.Lock()  # of all the above, never held while the store is at work
        self._flushing = threading.Lock()  # whoever has it may write, however long the store takes
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.health = WriterHealth()

    @property
    def waiting(self) -> int:
        """Checkpoints that are not stored yet."""
        batch = self._waiting
        units = len(self._units) + len(batch.started) + len(batch.finished) + len(batch.closed)
        return units + len(self._rows) + len(batch.rows)

    def begin(
        self,
        operation_id: str,
        on_cancel: Callable[[str], None],
        *,
        logs: LogInbox,
        ledger: ExportLedger | None = None,
        teaches: bool = True,
    ) -> None:
        """The operation's heart beats, and what comes into `logs` is stored.

        What its steps take counts for later runs if it `teaches`, and completes. `on_cancel` hears the reason when
        somebody wants to stop it. What the `ledger` says of the export of its spans is stored with them.
        """
        with self._lock:
            self._on_cancel[operation_id] = on_cancel
            self._logs[operation_id] = logs
            if ledger is not None:
                self._ledgers[operation_id] = (ledger, 0)
            if teaches:
                self._learned[operation_id] = Learned()
            self._next_beat_ns = self._clock.monotonic_ns() + self._heartbeat_interval_ns
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ktrdr-otel store", daemon=True)
                self._thread.start()

    def record(self, unit: Unit) -> None:
        """The unit, open or ended, will be stored."""
        if len(self._units) < _MAX_WAITING:
            self._units.append(unit)
        else:
            self.health.dropped_checkpoints += 1

    def record_rows(self, rows: Sequence[StepRow]) -> None:
        """These units, never open to anyone and ended well, will be stored."""
        room = max(_MAX_WAITING - len(self._rows), 0)
        self._rows.extend(rows[:room])
        self.health.dropped_checkpoints += max(len(rows) - room, 0)

    def progress(self, operation_id: str, progress: Progress) -> None:
        """The state will be stored, unless a later one comes first."""
        self._progress[operation_id] = progress

    def end(self, operation_id: str, ending: Ending, timeout_seconds: float) -> bool:
        """Whether the operation's end is stored within that time; else the thread goes on trying."""
        stored = threading.Event()
        with self._lock:
            self._stored_endings[operation_id] = stored
            self._endings[operation_id] = ending
        self._wake.set()
        return stored.wait(timeout_seconds)

    def flush(self) -> bool:
        """Whether all that was recorded before the call is stored; a store that hangs is waited for."""
        with self._flushing:
            with self._lock:
                batch = self._gather()
            if batch.is_empty:
                return True
            began_ns = self._clock.monotonic_ns()
            try:
                self._store.write(batch)
            except StoreUnavailableError as error:
                self._hold_back(batch, error)
                return False
            except Exception as error:
                return self._write_without_what_is_refused(batch, error)
            self.health.flush_seconds += (self._clock.monotonic_ns() - began_ns) / 1e9
            self._stored(batch)
            return True

    def _write_without_what_is_refused(self, batch: Batch, error: Exception) -> bool:
        # What is refused now is refused at every try: nothing of it must keep an end from being stored.
        for forgo in (self._forgo_checkpoints, self._forgo_logs):
            forgo(batch, error)
            try:
                self._store.write(batch)
            except StoreUnavailableError as away:
                self._hold_back(batch, away)
                return False
            except Exception as again:
                error = again
            else:
                self._stored(batch)
                return True
        self._hold_back(batch, error)
        return False

    def _forgo_checkpoints(self, batch: Batch, error: Exception) -> None:
        refused = len(batch.started) + len(batch.finished) + len(batch.closed) + len(batch.rows)
        if refused and not self.health.refused_checkpoints:
            logger.warning(
                "%d checkpoints are not stored, the store refuses them: %s; further ones are only counted",
                refused,
                error,
            )
        self.health.refused_checkpoints += refused
        self.health.dropped_checkpoints += refused
        batch.started, batch.finished, batch.closed, batch.rows, batch.learned = [], [], [], [], None

    def _forgo_logs(self, batch: Batch, error: Exception) -> None:
        if batch.logs and not self.health.dropped_logs:
            logger.warning(
                "%d log records are not stored, the store refuses them: %s; further ones are only counted",
                len(batch.logs),
                error,
            )
        self.health.dropped_logs += len(batch.logs)
        batch.logs = []

    def forget_after_fork(self) -> None:
        """The child of a fork writes nothing of its parent's."""
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._thread = None
        self._on_cancel.clear()
        self._ledgers.clear()
        self._logs.clear()
        self._units.clear()
        self._rows.clear()
        self._progress.clear()
        self._endings.clear()
        self._stored_endings.clear()
        self._waiting = Batch()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._flush_interval_seconds)
            self._wake.clear()
            try:
                self.flush()
                self._hear_cancellations()
            except Exception:
                self.health.failures += 1
                faults.report(logger, "the operations' store is not written; trying again")
            with self._lock:
                if not self._on_cancel and not self._stored_endings:
                    self._thread = None
                    return

    def _gather(self) -> Batch:
        batch = self._waiting
        batch.endings.update(self._endings)
        self._endings.clear()
        opened = {unit.span_id: unit for unit in batch.started}
        for _ in range(len(self._units)):
            unit = self._units.popleft()
            if unit.ended_ns is None:
                opened[unit.span_id] = unit
                continue
            if (learned := self._learned.get(unit.operation_id)) is not None:
                learned.add(unit)
            if unit.span_id in self._open:
                batch.closed.append(unit)
            else:
                opened.pop(unit.span_id, None)
                batch.finished.append(unit)
        batch.started = list(opened.values())
        for _ in range(len(self._rows)):
            row = self._rows.popleft()
            if (learned := self._learned.get(row[OPERATION])) is not None:
                learned.add_row(row)
            batch.rows.append(row)
        for operation_id in list(self._progress):
            batch.progress[operation_id] = self._progress.pop(operation_id)
        self._read_ledgers(batch)
        batch.logs = [*batch.logs, *self._logged()]
        batch.wall_ns, batch.monotonic_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        if batch.monotonic_ns >= self._next_beat_ns:
            batch.beating = list(self._on_cancel)
        batch.learned = self._learned_from(batch)
        return batch

    def _read_ledgers(self, batch: Batch) -> None:
        for operation_id, (ledger, stored) in self._ledgers.items():
            confirmed = ledger.confirmed
            if confirmed != stored:
                batch.confirmed[operation_id] = confirmed
            if marked := ledger.take_marked(operation_id):
                batch.marked.setdefault(operation_id, {}).update(marked)

    def _logged(self) -> Iterator[Logged]:
        for logs in self._logs.values():
            for _ in range(len(logs)):
                yield logs.popleft()

    def _learned_from(self, batch: Batch) -> Learned | None:
        """Only what completed teaches: a cancelled or failed run ended in the middle of something."""
        together = Learned()
        for operation_id, ending in batch.endings.items():
            learned = self._learned.get(operation_id)
            if ending.status is OperationStatus.COMPLETED and learned is not None:
                together.merge(learned)
        return together

    def _stored(self, batch: Batch) -> None:
        self.health.flushes += 1
        if self.health.last_error is not None:
            logger.warning("the operations' store is back: %s", self._store.describe())
            self.health.last_error = None
        with self._lock:
            self._waiting = Batch()
            for unit in batch.started:
                self._open[unit.span_id] = unit.operation_id
            for unit in batch.closed:
                self._open.pop(unit.span_id, None)
            for operation_id, place in batch.confirmed.items():
                self._ledgers[operation_id] = (self._ledgers[operation_id][0], place)
            if batch.beating:
                self._next_beat_ns = batch.monotonic_ns + self._heartbeat_interval_ns
            for operation_id in batch.endings:
                self._forget(operation_id)

    def _forget(self, operation_id: str) -> None:
        for kept in (self._on_cancel, self._ledgers, self._logs, self._learned):
            kept.pop(operation_id, None)
        self._open = {span: owner for span, owner in self._open.items() if owner != operation_id}
        event = self._stored_endings.pop(operation_id, None)
        if event is not None:
            event.set()

    def _hold_back(self, batch: Batch, error: Exception) -> None:
        self.health.failures += 1
        if self.health.last_error is None:
            logger.warning("progress is not stored: %s; the run goes on, the newest is kept", error)
        self.health.last_error = str(error)
        with self._lock:
            for operation_id, progress in batch.progress.items():
                self._progress.setdefault(operation_id, progress)
            batch.progress = {}
            batch.logs = [record for kept in by_operation(batch.logs).values() for record in kept]
            batch.beating = ()
            batch.learned = None
            for waiting in (batch.finished, batch.rows):
                excess = len(waiting) - _MAX_WAITING
                if excess > 0:
                    del waiting[-excess:]
                    self.health.dropped_checkpoints += excess

    def _hear_cancellations(self) -> None:
        heard = list(self._on_cancel)
        if not heard:
            return
        try:
            requests = self._store.cancel_reasons(heard)
        except StoreError as error:
            self.health.last_error = self.health.last_error or str(error)
            return
        for operation_id, reason in requests.items():
            on_cancel = self._on_cancel.get(operation_id)
            if on_cancel is not None:
                on_cancel(reason)
